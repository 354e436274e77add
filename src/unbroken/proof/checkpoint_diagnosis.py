"""What stands in the checkpoints of a run, as far as it can be told without reading their tensors."""

from __future__ import annotations

import shlex
from pathlib import Path

from unbroken.checkpoint.layout import CHECKPOINT_NAME, Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checks.check import Outcome
from unbroken.checks.counters_agree import CountersAgree
from unbroken.checks.observation import Observation
from unbroken.errors import CheckpointCorrupt, UnbrokenError
from unbroken.proof.diagnosis import CheckpointState
from unbroken.saved_observation import observe_saved


def checkpoint_states(layout: Layout) -> list[CheckpointState]:
    """Return what is known of each checkpoint of a run, by name."""
    if not layout.checkpoints.is_dir():
        return []
    paths = sorted(each for each in layout.checkpoints.iterdir() if each.is_dir())
    return [_state(layout, each) for each in paths if CHECKPOINT_NAME.fullmatch(each.name)]


def _state(layout: Layout, path: Path) -> CheckpointState:
    match = CHECKPOINT_NAME.fullmatch(path.name)
    step = int(match[1]) if match else 0
    directory = shlex.quote(str(layout.root))
    try:
        saved = observe_saved(Checkpoint.at(path), {})
    except CheckpointCorrupt as error:
        remedy = f"unbroken repair {directory} previous"
        return CheckpointState(name=path.name, step=step, problem=error.what, remedy=remedy)
    except (UnbrokenError, KeyError, TypeError, ValueError) as error:
        return CheckpointState(name=path.name, step=step, problem=str(error).partition("\n")[0])
    verdict = CountersAgree().compare(saved, Observation())
    if verdict.outcome is not Outcome.DIFFERS:
        return CheckpointState(name=path.name, step=step)
    remedy = f"unbroken repair {shlex.quote(str(path))} schedule"
    return CheckpointState(name=path.name, step=step, problem=verdict.numbers, remedy=remedy)
