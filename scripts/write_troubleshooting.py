"""Write docs/troubleshooting.md from the library's checks and the trainer's; with --check only compare.

An entry has the texts of a check: the message of its example, what it compares, why it matters, what
to do. Only the sentences on prevention are in this script.
"""

from __future__ import annotations

import sys
from pathlib import Path

from written_page import write_or_compare

from unbroken.checks import Check, Finding, OnAccept, Report, Severity, every_check
from unbroken.checks.decision import decide
from unbroken.checks.last_batch_identical import LastBatchIdentical
from unbroken.checks.report import examine
from unbroken.report.terminal import render, sentence
from unbroken_tts.rescue.rescue_checks import RESCUE_CHECKS
from unbroken_tts.train.checks.inputs_unchanged import TRAINER_CHECKS
from unbroken_tts.train.remedies import REMEDIES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "troubleshooting.md"

KNOWN = {
    "batch-geometry-unchanged": "Batch size changed",
    "accumulation-restored": "Mid-accumulation",
    "learning-rate-continues": "LR mismatch",
    "frozen-rows-out-of-reach": "Gradient masking",
    "probe-loss-reproduced": "Loss variance",
}
"""The entries that users of the earlier trainer look for come first, under the name they know."""

SAME_COMMAND = "Run the same command again with `--resume auto`, and change one thing at a time."
BUILD_ALIKE = "Keep the code that builds the model and the optimiser with the run (a tag, a copy)."
LEAVE_ALONE = "Make `Run.resume()` the last thing before the first step."
KEEP_FILES = "Keep an unchanged copy of a run's input files with the run."

LAST_BATCH = LastBatchIdentical()

PREVENTION = {
    "vocabulary-size-unchanged": "Extend a tokenizer before the run, never during it.",
    "tokenizer-unchanged": KEEP_FILES,
    "model-configuration-unchanged": KEEP_FILES,
    "data-set-unchanged": KEEP_FILES,
    "order-unchanged": SAME_COMMAND,
    "settings-unchanged": "Keep the settings in a file and give it with `--settings`.",
    "batch-geometry-unchanged": "Give only `--batch-size`, by what fits into memory: the effective "
    "batch stays the run's.",
    "pytorch-version-unchanged": "Install with `constraints.txt`, and update between runs.",
    "gpus-unchanged": "None is needed: a run may move.",
    "execution-unchanged": "Give `--threads` and `--precision` where the last bits matter.",
    "other-facts-unchanged": SAME_COMMAND,
    "parts-complete": "Declare every part when the run begins, and keep its name.",
    "model-leaves-complete": BUILD_ALIKE,
    "ties-unchanged": BUILD_ALIKE,
    "trainable-parameters-unchanged": "Freeze before `Run(...)`, in the same way at every start.",
    "optimizer-alignment-by-name": BUILD_ALIKE,
    "optimizer-covers-parameters": "Delete nothing from a checkpoint to make it smaller.",
    "optimizer-options-unchanged": SAME_COMMAND,
    "schedule-unchanged": "Decide on `--epochs` or `--max-steps` before the run begins.",
    "weights-identical": LEAVE_ALONE,
    "training-mode-unchanged": "Validate inside `unbroken.isolated`, which restores the modes.",
    "frozen-rows-unmoved": "Freeze rows structurally, as `--base-checkpoint` with an extended "
    "vocabulary does.",
    "frozen-rows-out-of-reach": "Freeze rows structurally; a hook on the gradient is not enough.",
    "optimizer-state-identical": LEAVE_ALONE,
    "counters-agree": "Let the run make every step: no `step()` of optimiser or schedule by hand.",
    "accumulation-restored": "None is needed: a stop inside a step saves its partial gradients.",
    "learning-rate-continues": "Use `unbroken.Schedule`, whose rates follow from the counters.",
    "rate-is-the-schedules": "Build one schedule for each optimiser, and let only it set the rate.",
    "other-state-identical": LEAVE_ALONE,
    "next-samples-identical": KEEP_FILES,
    "random-streams-continue": "Finish a run with the version of `unbroken` that began it.",
    "values-are-finite": "Clip gradients (`--grad-clip`), and leave `--on-nonfinite` at `stop`.",
    "probe-loss-reproduced": BUILD_ALIKE,
    "logs-continue": "Move and copy the directory of a run as a whole.",
    "earlier-schedule-agrees": "Keep the command line of a run with its output.",
    "earlier-data-agrees": KEEP_FILES,
    LAST_BATCH.id: KEEP_FILES,
}
"""By the id of a check: how to avoid the finding."""

OLD_GUIDE = {
    "RESUME_QUICK_ANSWER.md": ("this page", ""),
    "RESUME_QUICK_REFERENCE.md": ("the commands", "cli.md"),
    "COMPLETE_RESUME_TRAINING_GUIDE.md": ("checkpoints", "checkpoints.md"),
    "RESUME_TRAINING_WITH_FIX.md": ("checkpoints", "checkpoints.md"),
    "A100_80GB_RESUME_TRAINING_COMMANDS.md": ("the commands", "cli.md"),
    "HARDWARE_AUTO_OPTIMIZATION.md": ("architecture", "architecture.md"),
    "RESUME_TRAINING_BUG_ANALYSIS.md": ("why losses spike", "why-losses-spike.md"),
    "RESUME_TRAINING_SCHEDULER_FIX.md": ("LR mismatch", "#lr-mismatch"),
    "RESUME_TRAINING_IMPLEMENTATION.md": ("architecture", "architecture.md"),
    "RESUME_TRAINING_COMPLETE_FIX_SUMMARY.md": ("this page", ""),
    "TRAINING_RESUME_LOSS_SPIKE_FIX.md": ("why losses spike", "why-losses-spike.md"),
    "TRAINING_RESUME_BULLETPROOF_VERIFICATION.md": ("guarantees", "guarantees.md"),
    "RESUME_TRAINING_PERFECT.md": ("guarantees", "guarantees.md"),
    "RESUME_TRAINING_FINAL_GUARANTEE.md": ("guarantees", "guarantees.md"),
    "VOCAB_MISMATCH_FIX.md": ("vocabulary size", "#vocabulary-size-unchanged"),
    "VALIDATION_OPTIMIZATION.md": ("the commands", "cli.md"),
}
"""Documents of the earlier trainer about resuming, and the pages that replace them."""

HEAD = """\
# Troubleshooting a resume

Written by `scripts/write_troubleshooting.py` from the checks themselves; don't edit it.

Before the first step of every resume {count} checks compare the run with the checkpoint. Each agrees,
differs, or cannot compare. The report is shown on the terminal and saved in full as
`logs/resume-STEP-TIME.txt` in the run's directory, as JSON beside it, and as text in TensorBoard. A
finding looks like this:

```
{example}
```

- A **warning** doesn't stop the run, and says which value is used.
- A **critical** finding stops the resume. At a terminal (or in a notebook that somebody uses) there
  are ten seconds (`--abort-window`) in which Ctrl+C aborts; then the run continues with the *saved*
  values, if they can be used. Without a terminal (a batch system, CI) the resume ends with exit code
  3. `--on-critical abort` or `continue` answers in advance.
- **`--accept ID`** uses the *new* value from the next step on, where a finding offers it. It is
  recorded in the run's history.
- After an abort or a refusal all checkpoints, the journal and `latest` are unchanged.
- A finding that follows from another one is listed below it: begin with the first.

## The five best-known findings

{known}

## All other findings

{others}

## Findings of a rescue

When a run of the earlier trainer is taken over ([resuming.md](resuming.md#runs-of-the-earlier-trainer)),
what its file says is compared with the settings and the manifests, before anything is begun.

{rescue}

## Findings of a loop over its own loader

A run that is given `data=` compares this, and the next samples, when it reads its first batch.
`run.resume(accept=["ID"])` before the loop takes the place of `--accept ID`.

{loader}

## Pages of the earlier guide

| earlier page | now |
| --- | --- |
{old}
"""

ENTRY = """\
### {heading}

{title}. Id: `{id}`.

- **Message**: `{message}`
- **Explanation**: {compares} {why}
- **Is this bad?** {is_bad}
- **Action**: {action}
- **Prevention**: {prevention}
- **What it can't see**: it does not {does_not}"""


def page() -> str:
    """Return the whole page."""
    every = every_check(added=TRAINER_CHECKS, advice=REMEDIES)
    checks = {each.id: each for each in every}
    rate = _example(checks["learning-rate-continues"])
    shown = Report(findings=(rate,), seconds=0.0)
    alarm = next(i for i, line in enumerate(render(shown, decide(shown))) if "CRITICAL" in line)
    lines = render(shown, decide(shown))[alarm:]
    known = [_entry(checks[id_], name) for id_, name in KNOWN.items()]
    others = [_entry(each, each.id) for id_, each in checks.items() if id_ not in KNOWN]
    old = [
        f"| {name} | {f'[{text}]({target})' if target else text} |"
        for name, (text, target) in OLD_GUIDE.items()
    ]
    return HEAD.format(
        count=len(checks),
        example="\n".join(lines[: lines.index("")]),
        known="\n\n".join(known),
        others="\n\n".join(others),
        rescue="\n\n".join(_entry(each, each.id) for each in RESCUE_CHECKS),
        loader=_entry(LAST_BATCH, LAST_BATCH.id),
        old="\n".join(old),
    )


def _entry(check: Check, heading: str) -> str:
    paragraphs = _paragraphs(check)
    return ENTRY.format(
        heading=heading,
        title=check.title,
        id=check.id,
        message=sentence(_example(check)),
        compares=f"It compares {paragraphs['Compares']}",
        why=check.why,
        is_bad=_is_bad(check),
        action=f"{check.remedy} Likely cause: {_lower(check.cause)} {_acceptance(check)}",
        prevention=PREVENTION[check.id],
        does_not=paragraphs["Does not"],
    )


def _example(check: Check) -> Finding:
    """Return the finding of an example of the check: one that has a sentence of its own, or the first."""
    found = [each for saved, live in check.DIFFERS for each in examine([check], saved, live)]
    return next((each for each in found if each.headline), found[0])


def _paragraphs(check: Check) -> dict[str, str]:
    """Return `Compares` and `Does not` of a check, each on one line; its module says them, or itself."""
    if check.compares:
        return {"Compares": check.compares, "Does not": check.does_not}
    text = sys.modules[type(check).__module__].__doc__ or ""
    found = {}
    for paragraph in text.split("\n\n"):
        name, colon, rest = paragraph.strip().partition(": ")
        if colon and name in {"Compares", "Does not"}:
            found[name] = " ".join(rest.split())
    return found


def _is_bad(check: Check) -> str:
    if check.severity is Severity.CRITICAL:
        return "Yes: it would be another training, and the resume stops."
    return "Not by itself: it is shown, and the run goes on."


def _acceptance(check: Check) -> str:
    if check.on_accept is OnAccept.TAKE_NEW:
        kept = " Going on without it keeps the saved value." if check.keeps_saved else ""
        return f"`--accept {check.id}` takes the new value.{kept}"
    if check.on_accept is OnAccept.KEEP_SAVED:
        return f"`--accept {check.id}` goes on with the saved value."
    return "It can't be accepted."


def _lower(text: str) -> str:
    first = text.split(maxsplit=1)[0]
    is_name = first.isupper() and len(first) > 1
    return text if is_name or not first.isalpha() else text[0].lower() + text[1:]


def main() -> int:
    """Write the page, or compare it with --check; return the exit code."""
    return write_or_compare(PAGE, page())


if __name__ == "__main__":
    sys.exit(main())
