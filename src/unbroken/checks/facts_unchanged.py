"""The library's checks on facts, declared as data."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from unbroken.checks.check import CheckResult, OnAccept, Severity, rate_mismatch
from unbroken.checks.fact_check import FactCheck
from unbroken.checks.state_summary import StateSummary

OTHER_SAMPLES: Final = "The position counts samples of the saved data set: with another one some are used twice, some never."
OTHER_CONTENT: Final = (
    "The samples and their order are the run's, but the content of some changed: from here on it "
    "would be another training, and repeated steps would give other results."
)
ORDER_FACTS: Final = ("order.samples", "order.ids", "order.lengths")

LAST_BITS: Final = "The order of additions changes, and with it the last bits of every step."
# Significant bits, including the hidden one: IEEE 754 binary32 and binary16, bfloat16, TF32.
ROUNDING: Final = (
    "Another precision rounds every product of every step: bf16 keeps 8 significant bits, "
    "fp16 and TF32 11, fp32 24. That changes far more than last bits, and nothing after it can be "
    "bit-identical."
)
RATES: Final = {"learning_rate", "lr"}
"""What a learning rate is called among the settings of a program."""
SIGNIFICANT_BITS: Final = {"fp32": 24, "fp16": 11, "bf16": 8}
PRECISIONS: Final = (
    "environment.matmul_precision",
    "environment.convolutions",
    "execution.precision",
)


def _content_apart(result: CheckResult, saved: StateSummary, _live: StateSummary) -> CheckResult:
    """Distinguish changed content of the same samples from other samples."""
    knows_order = set(ORDER_FACTS[:2]) <= saved.facts_below(ORDER_FACTS).keys()
    of_content = {"order.content", "data.train"} if knows_order else {"order.content"}
    if result.differences and {each.path for each in result.differences} <= of_content:
        return replace(result, why=OTHER_CONTENT)
    return result


def _rate_apart(result: CheckResult, _saved: StateSummary, _live: StateSummary) -> CheckResult:
    """Say by how much the rates would differ where a learning rate is among the settings."""
    found = [each for each in result.differences if each.path.rpartition(".")[2] in RATES]
    shares = [
        abs(each.live - each.saved) / abs(each.saved)
        for each in found
        if isinstance(each.saved, int | float) and isinstance(each.live, int | float) and each.saved
    ]
    return rate_mismatch(result, max(shares)) if shares else result


def _precision_apart(result: CheckResult, saved: StateSummary, live: StateSummary) -> CheckResult:
    """Distinguish another precision from changes of the last bits."""
    of_precision = [each.path in PRECISIONS for each in result.differences]
    why = [ROUNDING] * any(of_precision) + [LAST_BITS] * (not all(of_precision))
    return replace(result, why=" ".join(why), headline=_precision_headline(saved, live))


def _precision_headline(saved: StateSummary, live: StateSummary) -> str:
    """Return the headline for another precision; empty if it is the same or unknown."""
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
    covers=("data.train", "data.dropped", "order.content", *ORDER_FACTS),
    example=("ab12", "ff00"),
    compares="the fingerprint over ids, lengths and array digests, the number of samples, and the "
    "dropped samples; never paths.",
    why=OTHER_SAMPLES,
    cause="A data file was edited, or other samples were given.",
    remedy="Use the run's samples with their content, or begin a new run from its weights.",
    does_not="compare validation data; they may change, and the best score is then forgotten.",
    refine=_content_apart,
)

# Order and randomness are functions of (seed, position); another seed is another shuffle.
ORDER_UNCHANGED: Final = FactCheck(
    id="order-unchanged",
    title="The order derives from the same seed, sampler and mix",
    area="order and randomness",
    covers=(
        "order.seed",
        "order.run_seed",
        "order.mix",
        "order.sampler",
        "order.drop_last",
        "order.loader_scheme",
        "order.stream_batch",
        "order.virtual_devices",
    ),
    example=(7, 8),
    compares="the seed of the order, the run's if it is another, the sampler of a loader, and the shares "
    "of a mix.",
    why="Another seed or sampler reshuffles in the middle of an epoch: samples are repeated and omitted.",
    cause="`StepBatches` was given another seed or mix, or `Run(seed=)` another seed.",
    remedy="Give `StepBatches`, or `Run(seed=)`, the run's seed, and `StepBatches` its mix.",
    does_not="derive the order; `next-samples-identical` does.",
)

# A changed setting would silently make another run, or silently be overruled by the checkpoint.
SETTINGS_UNCHANGED: Final = FactCheck(
    id="settings-unchanged",
    title="The settings are the run's",
    area="settings",
    covers=("settings",),
    example=({"learning_rate": 2e-05}, {"learning_rate": 0.00077}),
    on_accept=OnAccept.TAKE_NEW,
    keeps_saved=True,
    compares="every setting that is marked `must match`, as requested at this start, with the "
    "setting the run was trained with.",
    why="From the next step on it would be another training than the saved one.",
    cause="The facts named `settings` are not those that the run began with.",
    remedy="Give the run's values again in `facts=`, or use the new ones, where a run can change "
    'them, with accept=["settings-unchanged"].',
    refine=_rate_apart,
    does_not="compare paths, the intervals of saves and logs, or the size of micro-batches.",
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
    cause="The environment was updated, or the run moved to another machine.",
    remedy="No action is needed; install the saved version for bit-identical steps.",
    does_not="promise that two builds of one version give equal results; the replay measures that.",
)

# No random stream depends on the number of devices: all derive from (seed, position).
GPUS_UNCHANGED: Final = FactCheck(
    id="gpus-unchanged",
    title="The devices are unchanged",
    area="environment",
    covers=("environment.devices",),
    example=(["NVIDIA L4"], ["NVIDIA A100"]),
    severity=Severity.WARNING,
    on_accept=OnAccept.KEEP_SAVED,
    compares="names and number of the devices; either side may have none.",
    why="Other devices round differently, and draw other dropout masks; data and learning rates "
    "are the same.",
    cause="The run moved to another machine.",
    remedy="No action is needed.",
    does_not="say how large the difference is; the replay measures it.",
)

EXECUTION_UNCHANGED: Final = FactCheck(
    id="execution-unchanged",
    title="Threads, precision and determinism are as they were",
    area="environment",
    covers=(
        "environment.threads",
        "environment.processes",
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
    compares="system, processor, Python, number of computing threads and of processes, determinism flag, matrix "
    "precision, computing precision.",
    why=f"{LAST_BITS} {ROUNDING}",
    cause="The run moved to another machine, or threads, precision or determinism were set "
    "otherwise.",
    remedy="Compute in the saved precision. Another machine or number of threads needs no action; "
    "the saved `torch.set_num_threads` makes the steps bit-identical.",
    does_not="compare speed.",
    refine=_precision_apart,
)
