"""The checkpoints of one run: lists them, finds the newest undamaged one, deletes old ones."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unbroken.checkpoint import disk
from unbroken.checkpoint.commit import commit, replaced_name, set_aside
from unbroken.checkpoint.document import MAX_DOCUMENT_BYTES
from unbroken.checkpoint.layout import (
    CHECKPOINT_NAME,
    MANIFEST,
    Layout,
    Place,
    is_checkpoint_name,
    place_in_name,
)
from unbroken.checkpoint.pins import read_pins
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.retention import CheckpointInfo, DeletionPlan, RetentionPolicy, plan
from unbroken.checkpoint.second_reading import read_again
from unbroken.checkpoint.shared_commit import SharedCommit
from unbroken.checkpoint.snapshot import HostSnapshot
from unbroken.errors import (
    CheckpointCorrupt,
    CheckpointOfLaterVersion,
    CheckpointUnreadable,
    DataInvalid,
    NoUsableCheckpoint,
)
from unbroken.state.position import Position

LEFT_BEHIND = re.compile(rf"\.{CHECKPOINT_NAME.pattern}\.(\d+\.tmp|deleted)")
"""Names of directories that an interrupted save or deletion leaves."""

SAVED = b'"event": "saved"'
"""Marks the line of a committed checkpoint in the history."""

_log = logging.getLogger("unbroken")


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedCheckpoint:
    """A checkpoint that can't be resumed from."""

    path: Path
    why: str
    is_ours: bool = True
    """Whether this run wrote it, as far as is known."""
    is_damaged: bool = False
    """Whether a second reading past the cache found it damaged too."""
    step: int = 0
    created: float | None = None
    """Seconds since 1970, UTC; None if unknown."""


@dataclass(frozen=True, slots=True)
class Found:
    """The newest undamaged checkpoint, and the newer ones that were skipped."""

    checkpoint: Checkpoint | None
    skipped: tuple[SkippedCheckpoint, ...]


class Store:
    """The checkpoints under one run's directory that this run wrote.

    Args:
        layout: The run's directory.
        run_id: Checkpoints of other runs are left alone.
        require_ours: Called just before a visible change; raises if another
            process owns the run.
        shared: Commits with the other processes of the run; None where there are none.
    """

    def __init__(
        self,
        layout: Layout,
        run_id: str,
        require_ours: Callable[[], None] = lambda: None,
        shared: SharedCommit | None = None,
    ) -> None:
        self.layout = layout
        self.run_id = run_id
        self.require_ours = require_ours
        self.shared = shared
        self._tidies = shared is None or shared.is_leader

    def listed(self) -> tuple[list[Checkpoint], list[SkippedCheckpoint]]:
        """Return this run's checkpoints, oldest first, and those that could not be read."""
        found, others = [], []
        for path in self._directories():
            try:
                checkpoint = Checkpoint.at(path)
            except CheckpointCorrupt as error:
                others.append(self._skipped(path, error))
                continue
            if checkpoint.manifest.run_id == self.run_id:
                found.append(checkpoint)
        return sorted(found, key=_age), others

    def _skipped(self, path: Path, error: CheckpointCorrupt) -> SkippedCheckpoint:
        # The run id is readable in a damaged manifest, and in that of a later version.
        ours = isinstance(error, CheckpointUnreadable) or self._is_named_in(path / MANIFEST)
        return SkippedCheckpoint(path=path, why=error.what, is_ours=ours, step=_step_of(path))

    def _is_named_in(self, manifest: Path) -> bool:
        try:
            if manifest.is_symlink() or not manifest.is_file():
                return False
            with manifest.open("rb") as file:
                return self.run_id.encode() in file.read(MAX_DOCUMENT_BYTES)
        except OSError:
            return True

    def _directories(self) -> list[Path]:
        """Return the directories of checkpoints, and of those that were being replaced."""
        if not self.layout.checkpoints.is_dir():
            return []
        paths = {each.name: each for each in self.layout.checkpoints.iterdir() if each.is_dir()}
        found = []
        for name in sorted(paths):
            replaced = _replaced(name)
            if is_checkpoint_name(name) or (replaced and replaced not in paths):
                found.append(paths[name])
        return found

    def newest_whole(self) -> Found:
        """Verify from the newest on and return the first undamaged one; nothing is changed.

        Raises:
            NoUsableCheckpoint: There are or were checkpoints, but none is undamaged.
        """
        listed, others = self.listed()
        candidates: list[tuple[Place, Checkpoint | SkippedCheckpoint]] = [
            *((_place(each.position), each) for each in listed),
            *(((each.step, 0), each) for each in others),
        ]
        over: list[SkippedCheckpoint] = []
        for _, each in sorted(candidates, key=lambda pair: pair[0], reverse=True):
            checkpoint, why = self._proved(each)
            if checkpoint is not None:
                return Found(checkpoint, tuple(over))
            if why is not None:
                over.append(why)
        if any(each.is_ours for each in over) or self._ever_saved():
            raise self._nothing_whole(over)
        return Found(None, tuple(over))

    def _proved(
        self, each: Checkpoint | SkippedCheckpoint
    ) -> tuple[Checkpoint | None, SkippedCheckpoint | None]:
        """Verify a checkpoint; if it fails, once more past the system's cache."""
        if isinstance(each, SkippedCheckpoint):
            over = each
        else:
            try:
                each.verify()
            except CheckpointCorrupt as error:
                over = SkippedCheckpoint(
                    path=each.path,
                    why=error.what,
                    step=each.position.step,
                    created=each.manifest.created,
                )
            else:
                return each, None
        if not over.is_ours:
            return None, over
        try:
            return read_again(over.path, self.run_id), None
        except (CheckpointUnreadable, CheckpointOfLaterVersion, OSError) as error:
            return None, _with(over, str(getattr(error, "what", error)), is_damaged=False)
        except CheckpointCorrupt as error:
            return None, _with(over, error.what, is_damaged=True)

    def _ever_saved(self) -> bool:
        """Return whether the run ever committed a checkpoint, by its record."""
        if self.layout.latest.exists():
            return True
        with contextlib.suppress(OSError), self.layout.history.open("rb") as history:
            return any(SAVED in line for line in history)
        return False

    def _nothing_whole(self, over: Iterable[SkippedCheckpoint]) -> NoUsableCheckpoint:
        why = " ".join(each.why for each in over)
        return NoUsableCheckpoint(
            f"No checkpoint under {self.layout.checkpoints} is whole: {why}"
            if why
            else f"The record in {self.layout.root} says that this run saved checkpoints, but none "
            f"is under {self.layout.checkpoints}{self._of_others()}.",
            "A run can only continue from a state that is verified to be the saved one.",
            'Bring a whole checkpoint of the run back, or begin a new run: run.resume("") moves the '
            "old one to earlier/.",
            topic="none whole",
        )

    def _of_others(self) -> str:
        """Return a clause about the checkpoints that lie there and are another run's."""
        names = []
        for path in self._directories():
            with contextlib.suppress(CheckpointCorrupt, OSError):
                names.append(f"{path.name} (run {Checkpoint.at(path).manifest.run_id})")
        return (
            f"; {', '.join(names[:3])} there is of another run than {self.run_id}" if names else ""
        )

    def save(self, copied: HostSnapshot) -> Path:
        """Commit a snapshot in host memory."""
        committed = commit if self.shared is None else self.shared.commit
        return committed(self.layout, copied, self.require_ours)

    def plan(
        self, policies: Sequence[RetentionPolicy], metric: str | None, verified: str | None
    ) -> DeletionPlan:
        """Return what retention would delete.

        Args:
            policies: What to keep.
            metric: The score for `KeepBest`; None for none.
            verified: Name of the newest verified checkpoint.

        Raises:
            DataInvalid: The list of pinned checkpoints can't be read.
        """
        pinned = read_pins(self.layout)
        listed, _ = self.listed()
        kept = [
            CheckpointInfo(
                name=each.path.name,
                step=each.position.step,
                is_inside=each.position.samples > 0,
                created=each.manifest.created,
                metric=each.manifest.metrics.get(metric) if metric else None,
                is_pinned=each.path.name in pinned,
            )
            for each in listed
        ]
        return plan(kept, policies, verified)

    def clean(
        self, policies: Sequence[RetentionPolicy], metric: str | None, verified: str
    ) -> list[str]:
        """Delete what retention allows after a newer checkpoint was verified; return the names."""
        if not self._tidies:
            return []
        try:
            doomed = self.plan(policies, metric, verified).deleted
        except DataInvalid as error:
            _log.warning("Old checkpoints are not deleted: %s %s", error.what, error.remedy)
            return []
        return self.delete(doomed)

    def delete(self, names: Iterable[str]) -> list[str]:
        """Delete checkpoints of this run; return the names of those that were deleted."""
        deleted = []
        for name in names:
            # Renamed first, so that a half-deleted directory doesn't look like a damaged checkpoint.
            doomed = self.layout.checkpoints / f".{name}.deleted"
            with contextlib.suppress(OSError):  # the next save tries again
                self.require_ours()
                disk.remove_tree(doomed)
                disk.rename(self.layout.checkpoints / name, doomed)
                deleted.append(name)
                disk.remove_tree(doomed)
        return deleted

    def set_aside_newer(self, position: Position) -> list[Path]:
        """Move the checkpoints that are newer than a position to `superseded/`."""
        if not self._tidies:
            return []
        listed, _ = self.listed()
        newer = [each for each in listed if _place(each.position) > _place(position)]
        return [set_aside(self.layout, each.path) for each in newer]

    def sweep(self) -> None:
        """Restore or delete what an interrupted save or deletion left behind."""
        if not self._tidies:
            return
        names = "|".join(re.escape(each.name) for each in self.layout.replaced)
        half_replaced = re.compile(rf"\.({names})\.\d+\.tmp")
        for path in list(self.layout.root.iterdir()):
            if half_replaced.fullmatch(path.name) and path.is_file():
                disk.remove_tree(path)
        if not self.layout.checkpoints.is_dir():
            return
        for path in list(self.layout.checkpoints.iterdir()):
            shown = _replaced(path.name)
            if shown is not None and not (self.layout.checkpoints / shown).exists():
                disk.rename(path, self.layout.checkpoints / shown)
            elif shown is not None or LEFT_BEHIND.fullmatch(path.name):
                disk.remove_tree(path)


def _replaced(name: str) -> str | None:
    shown = name.removeprefix(".").removesuffix(".replaced")
    return shown if is_checkpoint_name(shown) and name == replaced_name(shown) else None


def _with(over: SkippedCheckpoint, why: str, *, is_damaged: bool) -> SkippedCheckpoint:
    return SkippedCheckpoint(
        path=over.path, why=why, is_damaged=is_damaged, step=over.step, created=over.created
    )


def _step_of(path: Path) -> int:
    place = place_in_name(_replaced(path.name) or path.name)
    return place[0] if place else 0


def _place(position: Position) -> Place:
    return position.step, position.samples


def _age(checkpoint: Checkpoint) -> tuple[int, int, float]:
    return *_place(checkpoint.position), checkpoint.manifest.created
