"""What a start continues from: the newest whole checkpoint, a named one, or nothing."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unbroken.checkpoint.initial_facts import InitialFacts, read_initial_facts
from unbroken.checkpoint.layout import MANIFEST, Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.run_directory import run_id_of, seed_scheme_of
from unbroken.checkpoint.store import Found, SkippedCheckpoint, Store
from unbroken.counts import counted
from unbroken.errors import NoUsableCheckpoint
from unbroken.journal.journal import read_lines
from unbroken.journal.missing_checkpoint import MissingCheckpoint, missing_checkpoint
from unbroken.run.unnamed_run import require_no_unnamed_run
from unbroken.state.random_streams import MicroBatchStreams

StartOutcome = Literal["began", "resumed", "began again"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeSource:
    """What a start continues from."""

    layout: Layout
    run_id: str | None
    """The run to continue; None when a new one begins."""
    checkpoint: Checkpoint | None
    """None when a run begins, or begins again because it never committed a checkpoint."""
    replaces_run: str | None = None
    """A run that stands in the directory and is moved to `earlier/` when the new one begins."""
    is_named_again: bool = False
    """Whether the run's `run.json` is lost and is written anew when it goes on."""
    notes: tuple[str, ...] = ()
    damaged: tuple[SkippedCheckpoint, ...] = ()
    """Checkpoints that are damaged on the device; the start moves them to `quarantine/`."""
    searched: tuple[Path, str] | None = None
    """What `find_source` was asked for; None where a checkpoint was named and nothing was searched."""
    seen: tuple[object, ...] = ()
    """What was there then, to find out whether it changed."""
    scheme: int | None = None
    """By which scheme the run derives its randomness, where another process has told."""
    recorded_in: Layout | None = None
    """Whose journal knows the steps so far; None for that of `layout`."""

    @property
    def records(self) -> Layout:
        """The directory whose journal knows the steps so far."""
        return self.recorded_in or self.layout

    def initial_facts(self) -> InitialFacts | None:
        """Return what a run that begins again was begun with.

        None where it doesn't: it is resumed from a checkpoint, is new, or trained no step yet; then
        nothing has to agree. None, too, where nothing tells.
        """
        if self.checkpoint is not None or self.run_id is None or not self.has_trained:
            return None
        return read_initial_facts(self.layout, self.run_id)

    @property
    def seed_scheme(self) -> int:
        """By which scheme the run that is continued derives its randomness."""
        if self.scheme is not None:
            return self.scheme
        if self.is_named_again and self.checkpoint is not None:
            schemes = self.checkpoint.evidence().get("schemes", {})
            return int(schemes.get("seed_scheme", MicroBatchStreams.scheme))
        return seed_scheme_of(self.layout)

    @property
    def has_trained(self) -> bool:
        """Whether the journal knows a step."""
        return next(read_lines(self.layout.journal), None) is not None

    def facts(self) -> dict[str, Any] | None:
        """Return what the run is made of: of its checkpoint, or else of its beginning."""
        if self.checkpoint is not None:
            return self.checkpoint.facts()
        initial_facts = self.initial_facts()
        return None if initial_facts is None else dict(initial_facts.facts)

    @property
    def outcome(self) -> StartOutcome:
        """What a start from here is called."""
        if self.checkpoint is not None:
            return "resumed"
        return "began again" if self.run_id else "began"


def find_source(directory: Path, how: str) -> ResumeSource:
    """Find what to continue from; nothing is changed.

    Args:
        directory: The run's directory.
        how: `auto` (the newest whole checkpoint, or a new run), `latest` (the same, but it must
            exist), a path (a checkpoint, or a run's directory), or the empty text (a new run).

    Raises:
        NoUsableCheckpoint: What was asked for isn't there, or no checkpoint is whole.
    """
    layout = Layout(directory)
    if how == "":
        seen = _seen(layout)
        if run_id_of(layout) is None:
            require_no_unnamed_run(layout)
        return ResumeSource(
            layout=layout,
            run_id=None,
            checkpoint=None,
            replaces_run=run_id_of(layout),
            searched=(directory, how),
            seen=seen,
        )
    if how in ("auto", "latest"):
        return _newest(layout, must_exist=how == "latest")
    return _explicit(Path(how))


def confirm_source(source: ResumeSource) -> ResumeSource:
    """Return the source that is found now if anything changed since; a writer may just have gone.

    Raises:
        NoUsableCheckpoint: What was asked for isn't there any more.
    """
    if source.searched is None or _seen(source.layout) == source.seen:
        return source
    return find_source(*source.searched)


def _seen(layout: Layout) -> tuple[object, ...]:
    """Return what tells one state of a run's directory from the next."""
    manifests = sorted(layout.checkpoints.glob(f"*/{MANIFEST}"))
    found: list[object] = []
    for each in (layout.run_file, *manifests):
        with contextlib.suppress(OSError):
            there = each.stat()
            found.append((str(each), there.st_mtime_ns, there.st_ino))
    return tuple(found)


def _newest(layout: Layout, *, must_exist: bool, notes: tuple[str, ...] = ()) -> ResumeSource:
    searched = (layout.root, "latest" if must_exist else "auto")
    seen = _seen(layout)
    run_id = run_id_of(layout)
    if run_id is None:
        require_no_unnamed_run(layout)
        if must_exist:
            raise NoUsableCheckpoint(
                f"{layout.root} holds no run.",
                "There is nothing to continue.",
                'Check the directory, or call run.resume("auto"), which begins a run where none is.',
                topic="no run",
            )
        return ResumeSource(
            layout=layout, run_id=None, checkpoint=None, searched=searched, seen=seen
        )
    found = Store(layout, run_id).newest_whole()
    if found.checkpoint is None:
        if must_exist:
            raise NoUsableCheckpoint(
                f"The run in {layout.root} never committed a checkpoint.",
                "There is no state to continue from.",
                'Call run.resume("auto"), which begins the run again at step 0.',
                topic="no checkpoint yet",
            )
        notes += ("the run never committed a checkpoint: it begins again at step 0",)
    return ResumeSource(
        layout=layout,
        run_id=run_id,
        checkpoint=found.checkpoint,
        notes=(*notes, *_cost(layout, found)),
        damaged=tuple(each for each in found.skipped if each.is_damaged),
        searched=searched,
        seen=seen,
    )


def _cost(layout: Layout, found: Found) -> list[str]:
    """Say what was skipped or is gone, and what is lost by that."""
    chosen = found.checkpoint
    gone = None if chosen is None else missing_checkpoint(layout, chosen.position)
    told = [each for each in found.skipped if gone is None or each.path.name != gone.name]
    notes = [f"skipped: {each.why}" for each in told]
    lost = [each for each in told if each.is_ours]
    if chosen is not None and lost:
        created = [each.created for each in lost if each.created is not None]
        cost = _cost_of(chosen, max(each.step for each in lost), max(created, default=None))
        notes.append(f"going on from {chosen.path.name} instead costs {cost}")
    if chosen is not None and gone is not None:
        notes.append(_gone(layout, chosen, gone))
    return notes


def _gone(layout: Layout, chosen: Checkpoint, gone: MissingCheckpoint) -> str:
    cost = _cost_of(chosen, gone.step, gone.saved)
    what, it = (
        (f"its {MANIFEST} is lost", "the file")
        if gone.lacks_manifest
        else (f"is not under {layout.checkpoints} any more", "it")
    )
    return (
        f"WARNING: {gone.name} was saved, but {what}: going on from {chosen.path.name} instead costs "
        f"{cost}. To keep them, stop, bring {it} back and start again"
    )


def _cost_of(chosen: Checkpoint, step: int, saved: float | None) -> str:
    """Return what it costs to go on from a checkpoint instead of one that was saved later.

    Args:
        chosen: What is gone on from.
        step: Steps completed at the other.
        saved: When that was saved, seconds since 1970, UTC; None where it isn't known.
    """
    steps = max(0, step - chosen.position.step)
    spent = ""
    if saved is not None:
        minutes = max(0, round((saved - chosen.manifest.created) / 60))
        spent = f", about {counted(minutes, 'minute')} of training"
        spent = spent if minutes else ", less than a minute of training"
    return f"{counted(steps, 'step')}{spent}; they are trained again"


def _explicit(path: Path) -> ResumeSource:
    if path.name in ("latest", "latest.pth") and run_id_of(Layout(path.parent)) is not None:
        note = f"{path} is understood as the latest checkpoint of the run in {path.parent}"
        return _newest(Layout(path.parent), must_exist=True, notes=(note,))
    if run_id_of(Layout(path)) is not None:
        return _newest(Layout(path), must_exist=True)
    if (path / MANIFEST).is_file():
        checkpoint = Checkpoint.at(path)
        checkpoint.verify()
        layout = Layout(path.resolve().parent.parent)
        run_id = run_id_of(layout)
        if run_id is None and path.resolve().parent == layout.checkpoints.resolve():
            return ResumeSource(
                layout=layout,
                run_id=checkpoint.manifest.run_id,
                checkpoint=checkpoint,
                is_named_again=True,
                notes=(
                    f"{layout.run_file} is lost: it is written anew, as the run of {path.name}",
                ),
            )
        if run_id != checkpoint.manifest.run_id:
            raise NoUsableCheckpoint(
                f"{path} belongs to run {checkpoint.manifest.run_id}, "
                f"but it lies in the directory of {run_id or 'no run'}.",
                "A run is continued in its own directory, beside its journal.",
                "Put the checkpoint back under its run's checkpoints/, or name the run's directory.",
            )
        return ResumeSource(layout=layout, run_id=run_id, checkpoint=checkpoint)
    if run_id_of(Layout(path)) is None:
        require_no_unnamed_run(Layout(path))
    raise NoUsableCheckpoint(
        f"{path} is neither a checkpoint nor the directory of a run.",
        "An explicit path is never replaced by something else.",
        'Name a directory under checkpoints/, or call run.resume("auto").',
        topic="no such source",
    )
