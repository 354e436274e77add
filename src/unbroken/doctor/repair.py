"""Repair: what can be repaired in a checkpoint, written as a new one; the old one is set aside unchanged.

Every tensor of the new checkpoint is the old one's, compared by digest while it is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unbroken.checkpoint.commit import commit, set_aside
from unbroken.checkpoint.file_image import HostCopy
from unbroken.checkpoint.latest import name_latest
from unbroken.checkpoint.layout import Layout, checkpoint_name
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.snapshot import Snapshot, copy_to_host
from unbroken.checkpoint.store import Store
from unbroken.errors import CheckpointCorrupt, NoUsableCheckpoint, SettingsInvalid
from unbroken.state.facts import seed_of
from unbroken.state.modules import TENSORS
from unbroken.state.position import Position
from unbroken.state.random_streams import streams_of
from unbroken.state.saved_steps import saved_steps

SCHEDULE_KEYS = {"updates", "base_rates", "specification"}
"""What the state of a schedule of ours holds; it is a function of its counter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What is to be done about a run's checkpoints, explained before it is done."""

    what: str
    """`schedule`, `position` or `previous`."""
    source: Path
    """The checkpoint that is repaired, or that the run continues from."""
    explanation: tuple[str, ...]
    """What was found, what is done, and what it costs."""
    parts: Mapping[str, Any] | None = None
    """The repaired state; None where an older checkpoint takes its place."""
    position: Position
    """Where the run stands afterwards."""
    evidence: Mapping[str, Any]
    """What is written beside the state."""
    aside: tuple[Path, ...] = ()
    """Checkpoints that are moved to `superseded/`."""


def repaired_schedule(checkpoint: Checkpoint) -> Repair | None:
    """Return the repair that sets each schedule's counter to the updates of the position.

    Args:
        checkpoint: Whole.

    Returns:
        None where all counters agree.

    Raises:
        SettingsInvalid: A schedule isn't a function of its counter, so it can't be rebuilt; or the
            optimiser doesn't count the updates of the position, so nobody knows which are right.
    """
    parts, updates = checkpoint.parts(), checkpoint.position.updates
    kinds = checkpoint.evidence().get("kinds", {})
    off: dict[str, int] = {}
    _require_updates(checkpoint, parts)
    for name, each in parts.items():
        if isinstance(each, dict) and set(each) == SCHEDULE_KEYS:
            off |= {name: each["updates"]} if each["updates"] != updates else {}
        elif kinds.get(name) == "schedule":
            raise _not_ours(checkpoint, name)
    if not off:
        return None
    mended = {n: {**each, "updates": updates} if n in off else each for n, each in parts.items()}
    left_out = (
        "rates",
        "scheduled",
        "next_rates",
        "curves",
    )  # of the counter that was wrong, perhaps
    evidence = {n: each for n, each in checkpoint.evidence().items() if n not in left_out}
    told = ", ".join(f"{name} counts {count} updates" for name, count in off.items())
    return Repair(
        what="schedule",
        source=checkpoint.path,
        explanation=(
            f"Found: {told}, the run {updates}.",
            (
                f"Done: the counter is set to {updates}; base rates and specification stay. All else "
                "is copied, bit by bit."
            ),
            (
                "Costs: the rates written down at the save are left out, since nobody knows which "
                "counter they are of; the resume says so and goes on."
            ),
        ),
        parts=mended,
        position=checkpoint.position,
        evidence=evidence | _note("schedule", checkpoint, without=["learning-rate-continues"]),
    )


def repaired_position(checkpoint: Checkpoint) -> Repair | None:
    """Return the repair that puts the position back to the start of the step.

    Args:
        checkpoint: Whole.

    Returns:
        None if it is there already.

    Raises:
        SettingsInvalid: A checkpoint of the start of this step is there.
    """
    here = checkpoint.position
    if not here.samples:
        return None
    position = replace(here, samples=0)
    twin = checkpoint.path.with_name(checkpoint_name(position))
    if twin.exists():
        raise SettingsInvalid(
            f"{twin} is at the start of this step already.",
            "It was saved there, which is better than a state that is reconstructed.",
            "Continue from it: `unbroken repair ... previous`, or resume its path.",
        )
    parts = {**checkpoint.parts(), "sums": {}, "gradients": {TENSORS: {}}}
    evidence = dict(checkpoint.evidence())
    seed = seed_of(checkpoint.facts())
    if "seed_here" in evidence and seed is not None:
        streams = streams_of(evidence["schemes"]["seed_scheme"], seed)
        evidence["seed_here"] = streams.seed_at(position)
    evidence["next_samples_after"] = here.samples
    return Repair(
        what="position",
        source=checkpoint.path,
        explanation=(
            (
                f"Found: {here.samples} samples of step {here.step + 1} are done, their gradients and "
                "sums are partial."
            ),
            (
                f"Done: the position is put back to the start of step {here.step + 1}; partial "
                "gradients and sums are dropped. Weights, optimizer and schedule don't change inside "
                "a step, and are copied, bit by bit."
            ),
            (
                f"Costs: {here.samples} samples are computed again. What a forward pass changes "
                "(running statistics, parts with counters of their own) stays as it was."
            ),
        ),
        parts=parts,
        position=position,
        evidence=evidence | _note("position", checkpoint),
        aside=(checkpoint.path,),
    )


def fallen_back(store: Store, named: Path | None = None) -> Repair:
    """Return the repair that goes back to the newest whole checkpoint before another.

    Args:
        store: The run's checkpoints.
        named: The checkpoint to go back from; None for the one furthest on.

    Raises:
        NoUsableCheckpoint: Nothing before it is whole.
    """
    listed, damaged = store.listed()
    places = {each.path: (each.position.step, each.position.samples) for each in listed}
    places |= {each.path: (each.step, 0) for each in damaged if each.is_ours}
    given = None if named is None else next((p for p in places if p.name == named.name), None)
    if named is not None and given is None:
        raise NoUsableCheckpoint(
            f"{named} is no checkpoint of run {store.run_id}.",
            "Nothing can be repaired there.",
            "Name a directory under checkpoints/, or the directory of the run.",
        )
    last = given or max(places, key=lambda path: places[path], default=None)
    aside = [] if last is None else [path for path in places if places[path] >= places[last]]
    for each in reversed(listed):
        if each.path in aside or not _is_verified(each):
            continue
        between = [p for p in places if p not in aside and places[p] > places[each.path]]
        return Repair(
            what="previous",
            source=each.path,
            explanation=(
                f"Found: {last.name if last else '?'} is not used to continue.",
                (
                    f"Done: {', '.join(p.name for p in (*between, *aside))} moved to superseded/, none "
                    f"deleted; the run continues from {each.path.name}, every byte of which was read."
                ),
                "Costs: the steps since then are trained again, and compared with the journal.",
            ),
            position=each.position,
            evidence={},
            aside=(*between, *aside),
        )
    raise NoUsableCheckpoint(
        f"Under {store.layout.checkpoints} no checkpoint before "
        f"{last.name if last else 'the last'} is whole.",
        "There is nothing to fall back to; nothing was changed.",
        "Restore an older checkpoint, for example from superseded/ or a backup.",
    )


def carry_out(
    layout: Layout, repair: Repair, require_ours: Callable[[], None] = lambda: None
) -> Path:
    """Do it; return the checkpoint that the run goes on from.

    Args:
        layout: The run's directory.
        repair: What to do.
        require_ours: Called before anything visible is changed; raises where another owns the run.

    Raises:
        SaveFailed: The disk refused; what was there is untouched.
    """
    place = repair.source
    if repair.parts is not None:
        place = _write(layout, repair, require_ours)
    require_ours()
    for each in repair.aside:
        set_aside(layout, each)
    name_latest(layout, place.name)
    return place


def _write(layout: Layout, repair: Repair, require_ours: Callable[[], None]) -> Path:
    """Write the repaired state through the commit of every save, its tensors held to the old ones."""
    assert repair.parts is not None
    old = Checkpoint.at(repair.source)
    copied = copy_to_host(
        Snapshot(
            run_id=old.manifest.run_id,
            start=old.manifest.start,
            position=repair.position,
            parts=repair.parts,
            facts=old.facts(),
            evidence=repair.evidence,
            metrics=dict(old.manifest.metrics),
        ),
        HostCopy(),
    )
    known = {leaf: old.manifest.leaves[leaf].digest for leaf in copied.leaves}
    return commit(layout, replace(copied, live=known), require_ours, keeps_replaced=True)


def _note(what: str, checkpoint: Checkpoint, without: list[str] | None = None) -> dict[str, Any]:
    """Return what the evidence says of the repair.

    Args:
        what: Its name.
        checkpoint: What was repaired.
        without: Ids of checks that have nothing to compare with any more.
    """
    known = {"what": what, "from": checkpoint.path.name, "time": time.time()}
    return {"repaired": known | {"without": without or []}}


def _require_updates(checkpoint: Checkpoint, parts: Mapping[str, Any]) -> None:
    """Refuse where an optimiser counts other updates than the position does."""
    updates = checkpoint.position.updates
    ahead = checkpoint.evidence().get("optimizer_ahead", {})
    for name, (_, most) in saved_steps(parts).items():
        expected = updates + ahead.get(name, 0)
        if most != expected:
            raise SettingsInvalid(
                f"{checkpoint.path}: {name} counts {most:g} updates, the save noted {expected:g}.",
                "The schedule would be rebuilt from a counter that may be the wrong one.",
                "Go back to the checkpoint before: unbroken repair ... previous",
            )


def _is_verified(checkpoint: Checkpoint) -> bool:
    try:
        checkpoint.verify()
    except CheckpointCorrupt:
        return False
    return True


def _not_ours(checkpoint: Checkpoint, name: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"The schedule {name!r} in {checkpoint.path} is not a function of a counter alone.",
        "Only unbroken.Schedule can be rebuilt from the updates; for another schedule the result "
        "would be a guess.",
        "Go back to the checkpoint before: unbroken repair ... previous",
    )
