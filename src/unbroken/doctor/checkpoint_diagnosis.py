"""What the checkpoints of a run contain, as far as it is known without reading their tensors.

Where something is wrong, the repair that is recommended was planned first, tensors and all: what
`unbroken repair` would refuse is not recommended.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from unbroken.checkpoint.layout import Layout, place_in_name
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.run_directory import run_id_of
from unbroken.checkpoint.store import Store
from unbroken.checks.check import CheckOutcome
from unbroken.checks.counters_agree import CountersAgree
from unbroken.checks.state_summary import StateSummary
from unbroken.doctor.diagnosis import CheckpointState
from unbroken.doctor.repair import fallen_back, repaired_schedule
from unbroken.errors import CheckpointCorrupt, UnbrokenError
from unbroken.run.saved_summary import summary_of

NONE_WHOLE = (
    "no checkpoint of this run is whole, and there is none to go back to: bring one back out of "
    "superseded/, quarantine/ or a backup, or begin a new run"
)


NOT_THIS_RUN = (
    "only a run's own checkpoints can be repaired, in the directory whose run.json names it"
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
    store = None if run_id is None else Store(layout, run_id)
    states = [_state(each, step, store) for (step, _), each in named]
    return [_advised(layout, states, i, store) for i in range(len(states))]


def _state(path: Path, step: int, store: Store | None) -> CheckpointState:
    state = CheckpointState(name=path.name, step=step)
    try:
        checkpoint = Checkpoint.at(path)
        saved = summary_of(checkpoint, {})
    except CheckpointCorrupt as error:
        return replace(state, problem=error.what, is_whole=False)
    except (UnbrokenError, KeyError, TypeError, ValueError) as error:
        return replace(state, problem=str(error).partition("\n")[0], is_whole=False)
    run_id = checkpoint.manifest.run_id
    state = replace(state, is_the_runs=store is None or store.run_id == run_id)
    verdict = CountersAgree().compare(saved, StateSummary())
    if verdict.outcome is not CheckOutcome.DIFFERS:
        return state
    state = replace(state, problem=verdict.numbers)
    if store is None or not state.is_the_runs:
        return replace(state, advice=NOT_THIS_RUN)
    refusal = _refusal(lambda: repaired_schedule(checkpoint))
    if not refusal:
        return replace(state, remedy=f"unbroken repair {shlex.quote(str(path))} schedule")
    if not _refusal(lambda: fallen_back(store, path)):
        return replace(state, remedy=f"unbroken repair {shlex.quote(str(path))} previous")
    return replace(state, advice=f"{refusal} No earlier checkpoint is whole either")


def _refusal(plan: Callable[[], object]) -> str:
    """Say why a repair would be refused; empty where it would be made."""
    try:
        return "" if plan() is not None else "Nothing that a repair sets right was found."
    except UnbrokenError as error:
        return error.what


def _advised(
    layout: Layout, states: Sequence[CheckpointState], i: int, store: Store | None
) -> CheckpointState:
    """Return a state with what to do where it is damaged: that depends on the others.

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
    if store is None:
        return replace(state, advice=NOT_THIS_RUN)
    refusal = _refusal(lambda: fallen_back(store))
    if refusal:
        return replace(state, advice=NONE_WHOLE)
    return replace(state, remedy=f"unbroken repair {shlex.quote(str(layout.root))} previous")
