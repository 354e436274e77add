"""Enter a directory: make it the run's, and keep in it what the run begins with."""

from __future__ import annotations

from dataclasses import dataclass

from unbroken.checkpoint.initial_facts import InitialFacts, write_initial_facts
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.run_directory import begin_run, finish_moving, move_to_earlier
from unbroken.checkpoint.second_reading import quarantine
from unbroken.errors import SaveFailed
from unbroken.journal.journal import read_lines
from unbroken.run.inspector import StateInspector
from unbroken.run.source import ResumeSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A directory that is the run's now."""

    run_id: str
    begins_with: InitialFacts | None
    """What it begins with, where it begins."""
    begun_with: InitialFacts | None
    """What it was begun with, where it begins again and that is known."""
    notes: tuple[str, ...]
    """What a person should know."""

    @property
    def is_same_beginning(self) -> bool:
        """Whether it begins again with the weights that it was begun with."""
        if self.begins_with is None or self.begun_with is None:
            return False
        return self.begins_with.digest == self.begun_with.digest


def enter(
    source: ResumeSource,
    inspector: StateInspector,
    seed: int,
    grace_seconds: float,
    run_id: str | None = None,
) -> Entered:
    """Make the directory the run's: move what stood there, write `run.json` where a run begins.

    Args:
        source: What the run continues from.
        inspector: Looks at the live objects.
        seed: The run's.
        grace_seconds: Time from a stop request until the process must be gone.
        run_id: Of a run that another process has begun already.

    Raises:
        SaveFailed: The disk refused; nothing was trained yet.
    """
    begun_with = source.initial_facts()
    if source.run_id is not None:
        run_id, moved = source.run_id, _quarantined(source)
        if source.is_named_again:
            begin_run(source.layout, seed, run_id, inspector.streams.scheme)
    else:
        moved = _make_room(source)
        run_id = begin_run(source.layout, seed, run_id)
    return Entered(
        run_id=run_id,
        begins_with=_keep_beginning(source, inspector, run_id),
        begun_with=begun_with,
        notes=(
            *_cannot_compare(source, begun_with),
            *moved,
            *slow_save(source.layout, grace_seconds),
        ),
    )


def _make_room(source: ResumeSource) -> list[str]:
    if source.replaces_run is None:
        finish_moving(source.layout)
        return []
    place = move_to_earlier(source.layout, source.replaces_run)
    back = f"to go back to it: run.resume({str(place)!r})"
    return [f"the run that stood here was moved to {place}; {back}"]


def _quarantined(source: ResumeSource) -> list[str]:
    notes = []
    for each in source.damaged:
        try:
            place = quarantine(source.layout, each.path, each.why)
        except OSError as error:
            notes.append(f"{each.path} is damaged and could not be moved away: {error}")
        else:
            notes.append(f"{each.path.name} is damaged and was moved to {place}, with the reason")
    return notes


def _keep_beginning(
    source: ResumeSource, inspector: StateInspector, run_id: str
) -> InitialFacts | None:
    """Keep the probe, and what a run begins with; return the latter where it begins."""
    initial = None
    try:
        if inspector.probe is not None:
            inspector.probe.keep(source.layout)
        if source.checkpoint is None:
            initial = InitialFacts(facts=inspector.facts, digest=inspector.digest())
            write_initial_facts(source.layout, run_id, initial)
    except OSError as error:
        raise SaveFailed(
            f"What the run begins with could not be kept in {source.layout.root}: {error}.",
            "Nothing was trained yet; without it no resume could compare what the model computes.",
            "Free space on the disk, or check its permissions, and start again.",
        ) from error
    return initial


def _cannot_compare(source: ResumeSource, begun_with: InitialFacts | None) -> list[str]:
    """Say so where a run begins again and nothing tells what it was begun with."""
    if source.outcome != "began again" or begun_with is not None or not source.has_trained:
        return []
    name = source.layout.start_file.name
    return [f"{name} is not there: what the run was begun with could not be compared"]


def slow_save(layout: Layout, grace_seconds: float) -> list[str]:
    """Warn where the run's last save took longer than there is between a stop and the kill."""
    taken = [
        seconds
        for line in read_lines(layout.history)
        if line.get("event") == "saved" and isinstance(seconds := line.get("seconds"), float)
    ]
    if not taken or taken[-1] <= grace_seconds:
        return []
    return [
        (
            f"WARNING: the last save took {taken[-1]:.1f} s, but only {grace_seconds:g} s are "
            "granted between a stop request and the kill: a stop may come too late to be saved. "
            "Grant more: grace_seconds, and the same where the job is started."
        )
    ]
