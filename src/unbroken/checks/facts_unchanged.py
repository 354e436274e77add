"""The library's checks on facts: what each compares, what a difference means, what acts then."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from unbroken.checks.check import CheckResult, OnAccept, Severity
from unbroken.checks.fact_check import FactCheck
from unbroken.checks.state_summary import StateSummary

OTHER_SAMPLES: Final = "The position counts samples of the saved data set: with another one some are used twice, some never."
OTHER_CONTENT: Final = (
    "The samples and their order are the run's, but the content of some is another: from here on it "
    "would be another training, and the steps that are repeated would come out otherwise."
)
ORDER_FACTS: Final = ("order.samples", "order.ids", "order.lengths")

LAST_BITS: Final = "The order of additions changes, and with it the last bits of every step."
# Significant bits, the hidden one among them: IEEE 754 binary32 and binary16, bfloat16, TF32.
ROUNDING: Final = (
    "Another precision rounds every product of every step otherwise: bf16 keeps 8 significant bits, "
    "fp16 and TF32 11, fp32 24. That is far more than last bits, and nothing after it can be "
    "bit-identical."
)
SIGNIFICANT_BITS: Final = {"fp32": 24, "fp16": 11, "bf16": 8}
PRECISIONS: Final = (
    "environment.matmul_precision",
    "environment.convolutions",
    "execution.precision",
)


def _content_apart(result: CheckResult, saved: StateSummary, _live: StateSummary) -> CheckResult:
    """Tell other content of the same samples from other samples."""
    knows_order = set(ORDER_FACTS[:2]) <= saved.facts_below(ORDER_FACTS).keys()
    if knows_order and all(each.path == "data.train" for each in result.differences):
        return replace(result, why=OTHER_CONTENT)
    return result


def _precision_apart(result: CheckResult, saved: StateSummary, live: StateSummary) -> CheckResult:
    """Tell what rounds every step otherwise from what changes last bits."""
    of_precision = [each.path in PRECISIONS for each in result.differences]
    why = [ROUNDING] * any(of_precision) + [LAST_BITS] * (not all(of_precision))
    return replace(result, why=" ".join(why), headline=_precision_headline(saved, live))


def _precision_headline(saved: StateSummary, live: StateSummary) -> str:
    """Return what another computing precision means; empty where it is the same, or not known."""
    name = "execution.precision"
    before, now = (each.facts_below([name]).get(name) for each in (saved, live))
    if before == now or before not in SIGNIFICANT_BITS or now not in SIGNIFICANT_BITS:
        return ""
    return (
        f"WARNING: Precision changed! Checkpoint: {before}, Current: {now}: every product of every "
        f"step is rounded to {SIGNIFICANT_BITS[now]} significant bits, was {SIGNIFICANT_BITS[before]}"
    )


DATA_SET_UNCHANGED: Final = FactCheck(
    id="data-set-unchanged",
    title="The training data are the run's",
    area="data",
    covers=("data.train", "data.dropped", *ORDER_FACTS),
    example=("ab12", "ff00"),
    compares="the fingerprint over ids, lengths and array digests, the number of samples, what was "
    "dropped; never paths.",
    why=OTHER_SAMPLES,
    cause="A data file was edited, or other samples were given to `StepBatches`.",
    remedy="Give the samples of the run, with their content, or begin a new run from its weights.",
    does_not="compare validation data; they may change, and the best score is then forgotten.",
    refine=_content_apart,
)

# Order and randomness are functions of (seed, position); another seed is another shuffle.
ORDER_UNCHANGED: Final = FactCheck(
    id="order-unchanged",
    title="The order derives from the same seed",
    area="order and randomness",
    covers=("order.seed", "order.run_seed"),
    example=(7, 8),
    compares="the seed of the order, and the run's where it is another.",
    why="Another seed shuffles anew in the middle of an epoch: samples are repeated and left out.",
    cause="`StepBatches`, or `Run(seed=)`, was given another seed.",
    remedy="Give `StepBatches`, or `Run(seed=)`, the run's seed.",
    does_not="derive the order; `next_samples_identical` does.",
)

# A setting that differs silently gives another run, or is silently overruled by the checkpoint.
SETTINGS_UNCHANGED: Final = FactCheck(
    id="settings-unchanged",
    title="The settings are the run's",
    area="settings",
    covers=("settings",),
    example=({"learning_rate": 2e-05}, {"learning_rate": 0.00077}),
    on_accept=OnAccept.TAKE_NEW,
    keeps_saved=True,
    compares="every setting that is marked `must match`, as it was asked for at this start, with "
    "what the run was trained with.",
    why="From the next step on it would be another training than the one that was saved.",
    cause="The facts named `settings` are not those the run was begun with.",
    remedy="Give the run's values again in `facts=`, or take the new ones, where they can act, with "
    'accept=["settings-unchanged"].',
    does_not="compare where things lie, how often is saved or logged, or how the work is cut.",
)

PYTORCH_VERSION_UNCHANGED: Final = FactCheck(
    id="pytorch-version-unchanged",
    title="PyTorch and the libraries beside it are the versions that saved",
    area="environment",
    covers=("environment.torch", "environment.cuda", "environment.libraries"),
    example=("2.13.0", "2.12.1"),
    severity=Severity.WARNING,
    on_accept=OnAccept.KEEP_SAVED,
    compares="the versions of PyTorch, CUDA, cuDNN, NCCL, triton, the driver, NumPy, and every "
    "installed library that the class of a part comes from.",
    why="Another version may round differently; the first steps show by how much.",
    cause="The environment was updated, or is another machine's.",
    remedy="Nothing need be done; install the saved version for bit-identical steps.",
    does_not="promise that two builds of one version compute alike; the replay measures it.",
)

# No random stream depends on the number of devices: all derive from (seed, position).
GPUS_UNCHANGED: Final = FactCheck(
    id="gpus-unchanged",
    title="The devices are the ones that saved",
    area="environment",
    covers=("environment.devices",),
    example=(["NVIDIA L4"], ["NVIDIA A100"]),
    severity=Severity.WARNING,
    on_accept=OnAccept.KEEP_SAVED,
    compares="names and number of the devices; any number on either side, none included.",
    why="Other devices round differently, and draw other dropout masks; data and learning rates "
    "are the same.",
    cause="The run moved to another machine.",
    remedy="Nothing need be done.",
    does_not="say how large the difference is; the replay measures it.",
)

EXECUTION_UNCHANGED: Final = FactCheck(
    id="execution-unchanged",
    title="Threads, precision and determinism are as they were",
    area="environment",
    covers=(
        "environment.threads",
        "environment.platform",
        "environment.processor",
        "environment.python",
        "environment.deterministic",
        "environment.matmul_precision",
        "environment.convolutions",
        "environment.kernels",
        "execution.precision",
    ),
    example=(2, 1),
    severity=Severity.WARNING,
    on_accept=OnAccept.KEEP_SAVED,
    compares="system, processor, Python, number of computing threads, determinism flag, matrix "
    "precision, computing precision.",
    why=f"{LAST_BITS} {ROUNDING}",
    cause="The run moved to another machine, or threads, precision or determinism were set "
    "otherwise.",
    remedy="Compute in the saved precision; of threads and machine nothing need be done (the saved "
    "`torch.set_num_threads` makes the steps bit-identical).",
    does_not="compare speed.",
    refine=_precision_apart,
)
