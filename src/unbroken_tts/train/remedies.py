"""What the library's findings and errors mean at the command line: its flags and files, in one place."""

from __future__ import annotations

import re
import shlex
from typing import Final

from unbroken import UnbrokenError
from unbroken.checks import Advice

REMEDIES: Final = {
    "data-set-unchanged": Advice(
        cause="A manifest or a feature file was edited, or another manifest was given.",
        remedy="Use the manifests and feature files of the run, or begin a new run from its "
        "weights with --init-from.",
    ),
    "order-unchanged": Advice(
        cause="--seed was given, or its default changed.",
        remedy="Omit --seed, or give the run's.",
    ),
    "settings-unchanged": Advice(
        cause="The command line or the settings file has changed since the run began.",
        remedy="Give the run's values again (an omitted flag has its default), or use the new "
        "ones, where a run can change them, with --accept settings-unchanged.",
    ),
    "batch-geometry-unchanged": Advice(
        cause="The product of --batch-size and --grad-accumulation changed.",
        remedy="To keep the run's, omit --grad-accumulation: any --batch-size divides the same "
        "steps.",
    ),
    "execution-unchanged": Advice(
        cause="The run moved to another machine, or --threads, --precision or --amp changed.",
        remedy="Give the saved --precision. Another machine or number of threads needs no action; "
        "the saved --threads make the steps bit-identical.",
    ),
    "other-facts-unchanged": Advice(
        remedy="Give the run's values, or use the new ones with --accept other-facts-unchanged.",
    ),
    "schedule-unchanged": Advice(
        cause="--epochs, --max-steps, --warmup-steps, --learning-rate or the number of samples "
        "changed.",
        remedy="Give the run's settings, or use the new curve with --accept schedule-unchanged.",
    ),
    "optimizer-covers-parameters": Advice(
        remedy="Go back to a checkpoint that has it (--resume PATH), or begin a new run from the "
        "weights.",
    ),
    "counters-agree": Advice(
        remedy="Step nothing outside of the run. `unbroken repair PATH schedule` corrects a "
        "schedule's counter; otherwise go back to the previous checkpoint (--resume PATH).",
    ),
    "values-are-finite": Advice(
        remedy="Go back to the checkpoint before (--resume PATH), with a lower rate or gradient "
        "clipping.",
    ),
    "frozen-rows-unmoved": Advice(why="The base voice and its language degrade step by step."),
    "next-samples-identical": Advice(
        cause="The manifest, its order, the seed or the effective batch changed.",
        remedy="Use the run's manifests and seed.",
    ),
}
"""By the id of the check; what is not here is said as the library says it."""

ERROR_REMEDIES: Final = {
    "stopped": "{before}Start the same command again with --resume auto.",
    "diverged": "Put back what changed and start again with --resume auto; to go on all the same, "
    "start with --on-diverged continue.",
    "not finite": "Look at these samples, lower the learning rate, or go on with --on-nonfinite skip.",
    "no run": "Check --output-dir, or use --resume auto, which begins a run where none is.",
    "no checkpoint yet": "Use --resume auto, which begins the run again at step 0.",
    "no such source": "Name a directory under checkpoints/, or use --resume auto.",
    "none whole": "Bring a whole checkpoint of the run back, or begin a new run: leave out --resume "
    "(the old one is moved to earlier/), with --init-from if there is a weights file.",
    "unnamed run": "To go on from the newest, type --resume {newest}. For a new run choose another "
    "--output-dir.",
}
"""By the topic of the error; what is not here is said as the library says it."""


def note_with_flags(note: str) -> str:
    """Return a note of the library with the command's flags in the place of its arguments."""
    note = note.replace("grace_seconds", "--grace-seconds")
    return re.sub(
        r"run\.resume\('([^']*)'\)", lambda found: f"--resume {shlex.quote(found[1])}", note
    )


def say_with_flags(error: UnbrokenError) -> None:
    """Let an error of the library say what to do by the command's flags."""
    remedy = ERROR_REMEDIES.get(error.topic)
    if remedy is not None:
        error.remedy = remedy.format_map(error.given)
