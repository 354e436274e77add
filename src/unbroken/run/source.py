"""What a start continues from: the newest whole checkpoint, a named one, or nothing."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unbroken.checkpoint.initial_facts import InitialFacts, read_initial_facts
from unbroken.checkpoint.layout import MANIFEST, Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.run_directory import run_id_of
from unbroken.checkpoint.store import Found, SkippedCheckpoint, Store
from unbroken.counts import counted
from unbroken.errors import NoUsableCheckpoint
from unbroken.journal.journal import read_lines
from unbroken.journal.missing_checkpoint import missing_checkpoint

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
    notes: tuple[str, ...] = ()
    damaged: tuple[SkippedCheckpoint, ...] = ()
    """Checkpoints that are damaged on the device; the start moves them to `quarantine/`."""
    searched: tuple[Path, str] | None = None
    """What `find_source` was asked for; None where a checkpoint was named and nothing was searched."""
    seen: tuple[object, ...] = ()
    """What was there then, to find out whether it changed."""

    def initial_facts(self) -> InitialFacts | None:
        """Return what a run that begins again was begun with.

        None where it doesn't: it is resumed from a checkpoint, is new, or trained no step yet; then
        nothing has to agree. None, too, where nothing tells.
        """
        if self.checkpoint is not None or self.run_id is None or not self.has_trained:
            return None
        return read_initial_facts(self.layout, self.run_id)

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
        if must_exist:
            raise NoUsableCheckpoint(
                f"{layout.root} holds no run.",
                "There is nothing to continue.",
                "Check --output-dir, or use --resume auto, which begins a run where none is.",
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
                "Use --resume auto, which begins the run again at step 0.",
            )
        notes += ("the run never committed a checkpoint: it begins again at step 0",)
    return ResumeSource(
        layout=layout,
        run_id=run_id,
        checkpoint=found.checkpoint,
        notes=(*notes, *_cost(found), *_missing(layout, found.checkpoint)),
        damaged=tuple(each for each in found.skipped if each.is_damaged),
        searched=searched,
        seen=seen,
    )


def _cost(found: Found) -> list[str]:
    """Say what was skipped, and what is lost by that."""
    notes = [f"skipped: {each.why}" for each in found.skipped]
    lost = [each for each in found.skipped if each.is_ours]
    chosen = found.checkpoint
    if chosen is None or not lost:
        return notes
    created = [each.created for each in lost if each.created is not None]
    cost = _cost_of(chosen, max(each.step for each in lost), max(created, default=None))
    return [*notes, f"going on from {chosen.path.name} instead costs {cost}"]


def _missing(layout: Layout, chosen: Checkpoint | None) -> list[str]:
    """Say which newer checkpoint is gone, and what is lost by that."""
    gone = None if chosen is None else missing_checkpoint(layout, chosen.position)
    if chosen is None or gone is None:
        return []
    cost = _cost_of(chosen, gone.step, gone.saved)
    where = f"{gone.name} was saved, but is not under {layout.checkpoints} any more"
    remedy = "To keep them, stop, bring it back and start again"
    return [f"WARNING: {where}: going on from {chosen.path.name} instead costs {cost}. {remedy}"]


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
        if run_id != checkpoint.manifest.run_id:
            raise NoUsableCheckpoint(
                f"{path} belongs to run {checkpoint.manifest.run_id}, "
                f"but it lies in the directory of {run_id or 'no run'}.",
                "A run is continued in its own directory, beside its journal.",
                "Put the checkpoint back under its run's checkpoints/, or name the run's directory.",
            )
        return ResumeSource(layout=layout, run_id=run_id, checkpoint=checkpoint)
    raise NoUsableCheckpoint(
        f"{path} is neither a checkpoint nor the directory of a run.",
        "An explicit path is never replaced by something else.",
        "Name a directory under checkpoints/, or use --resume auto.",
    )
