"""Diagnoses the checkpoints of a run without reading their tensors."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unbroken.checkpoint.layout import Layout, place_in_name
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.run_directory import run_id_of
from unbroken.checks.check import CheckOutcome
from unbroken.checks.counters_agree import CountersAgree
from unbroken.checks.state_summary import StateSummary
from unbroken.doctor.diagnosis import CheckpointState
from unbroken.errors import CheckpointCorrupt, UnbrokenError
from unbroken.run.saved_summary import summary_of

NONE_WHOLE = (
    "no checkpoint of this run is undamaged: restore one from superseded/, quarantine/ or a "
    "backup, or begin a new run from weights (--init-from)"
)


def checkpoint_states(layout: Layout) -> list[CheckpointState]:
    """Return the state of each checkpoint of a run, oldest first."""
    if not layout.checkpoints.is_dir():
        return []
    named = sorted(
        (place, each)
        for each in layout.checkpoints.iterdir()
        if each.is_dir() and (place := place_in_name(each.name)) is not None
    )
    run_id = None
    with contextlib.suppress(UnbrokenError, OSError):
        run_id = run_id_of(layout)
    states = [_state(each, step, run_id) for (step, _), each in named]
    return [_advised(layout, states, i) for i in range(len(states))]


def _state(path: Path, step: int, run_id: str | None) -> CheckpointState:
    state = CheckpointState(name=path.name, step=step)
    try:
        checkpoint = Checkpoint.at(path)
        saved = summary_of(checkpoint, {})
    except CheckpointCorrupt as error:
        return replace(state, problem=error.what, is_whole=False)
    except (UnbrokenError, KeyError, TypeError, ValueError) as error:
        return replace(state, problem=str(error).partition("\n")[0], is_whole=False)
    state = replace(state, is_the_runs=run_id in (None, checkpoint.manifest.run_id))
    verdict = CountersAgree().compare(saved, StateSummary())
    if verdict.outcome is not CheckOutcome.DIFFERS:
        return state
    remedy = f"unbroken repair {shlex.quote(str(path))} schedule"
    return replace(state, problem=verdict.numbers, remedy=remedy)


def _advised(layout: Layout, states: Sequence[CheckpointState], i: int) -> CheckpointState:
    """Return a state with advice if the checkpoint is damaged, which depends on the others.

    A resume uses the newest undamaged one, so damage to an older one costs nothing, and going back
    beyond it would give up the newer ones.
    """
    state = states[i]
    if state.is_whole:
        return state
    newer = [each.name for each in states[i + 1 :] if each.is_whole and each.is_the_runs]
    older = [each.name for each in states[:i] if each.is_whole and each.is_the_runs]
    if newer:
        return replace(state, advice=f"nothing to do: a resume uses {newer[-1]}")
    if not older:
        return replace(state, advice=NONE_WHOLE)
    damaged = [each.name for each in states[i + 1 :] if not each.is_whole]
    if damaged:
        return replace(state, advice=f"the advice on {damaged[-1]} skips this one too")
    return replace(state, remedy=f"unbroken repair {shlex.quote(str(layout.root))} previous")
