"""The checkpoints of one run: listed by their manifests, the newest whole one found, old ones deleted."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from unbroken.checkpoint import disk
from unbroken.checkpoint.commit import Frozen, commit, replaced_name, set_aside
from unbroken.checkpoint.layout import CHECKPOINT_NAME, Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.retention import Kept, deletions
from unbroken.errors import CheckpointCorrupt, NoUsableCheckpoint
from unbroken.state.position import Position

LEFT_BEHIND = re.compile(rf"\.{CHECKPOINT_NAME.pattern}\.(\d+\.tmp|deleted)")
"""Names of directories that an interrupted save or deletion leaves."""


@dataclass(frozen=True, slots=True)
class Found:
    """The newest whole checkpoint, and why newer ones were passed over."""

    checkpoint: Checkpoint | None
    passed_over: tuple[str, ...]


class Store:
    """The checkpoints under one run's directory that this run wrote.

    Args:
        layout: The run's directory.
        run_id: Checkpoints of other runs are left alone.
    """

    def __init__(self, layout: Layout, run_id: str) -> None:
        self.layout = layout
        self.run_id = run_id

    def listed(self) -> tuple[list[Checkpoint], list[str]]:
        """Return this run's checkpoints, oldest first, and what could not be read as one."""
        found, notes = [], []
        for path in self._directories():
            try:
                checkpoint = Checkpoint.at(path)
            except CheckpointCorrupt as error:
                notes.append(error.what)
                continue
            if checkpoint.manifest.run_id == self.run_id:
                found.append(checkpoint)
        return sorted(found, key=_age), notes

    def _directories(self) -> list[Path]:
        """Return what is called a checkpoint, and what was about to be replaced by a new one."""
        if not self.layout.checkpoints.is_dir():
            return []
        paths = {each.name: each for each in self.layout.checkpoints.iterdir() if each.is_dir()}
        found = []
        for name in sorted(paths):
            replaced = _replaced(name)
            if CHECKPOINT_NAME.fullmatch(name) or (replaced and replaced not in paths):
                found.append(paths[name])
        return found

    def newest_whole(self) -> Found:
        """Verify from the newest on and return the first that is whole.

        Raises:
            NoUsableCheckpoint: There are checkpoints, but none is whole.
        """
        listed, notes = self.listed()
        for checkpoint in reversed(listed):
            try:
                checkpoint.verify()
            except CheckpointCorrupt as error:
                notes.append(error.what)
                continue
            return Found(checkpoint, tuple(notes))
        if notes:
            raise NoUsableCheckpoint(
                f"No checkpoint under {self.layout.checkpoints} is whole: " + " ".join(notes),
                "Continuing needs a state that is proved to be the one that was saved.",
                "Start anew with another --output-dir, or with --init-from a weights file.",
            )
        return Found(None, ())

    def save(self, frozen: Frozen) -> Path:
        """Commit a frozen snapshot."""
        return commit(self.layout, frozen)

    def clean(self, *, keep_last: int, metric: str | None) -> list[str]:
        """Delete what retention allows, after something newer was committed; return the names."""
        listed, _ = self.listed()
        kept = [
            Kept(each.path.name, each.manifest.metrics.get(metric) if metric else None)
            for each in listed
        ]
        names = deletions(kept, keep_last=keep_last, keep_best=1)
        deleted = []
        for name in names:
            # Renamed first: a half-deleted directory must not look like a damaged checkpoint.
            doomed = self.layout.checkpoints / f".{name}.deleted"
            with contextlib.suppress(OSError):  # still there at the next save, and tried again
                disk.remove_tree(doomed)
                disk.rename(self.layout.checkpoints / name, doomed)
                deleted.append(name)
                disk.remove_tree(doomed)
        return deleted

    def give_up_after(self, position: Position) -> list[Path]:
        """Set aside the checkpoints that are newer than a position that was asked for."""
        listed, _ = self.listed()
        newer = [each for each in listed if _place(each.position) > _place(position)]
        return [set_aside(self.layout, each.path) for each in newer]

    def sweep(self) -> None:
        """Mend and delete what an interrupted save or deletion of ours left behind."""
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
    return shown if CHECKPOINT_NAME.fullmatch(shown) and name == replaced_name(shown) else None


def _place(position: Position) -> tuple[int, int]:
    return position.step, position.samples


def _age(checkpoint: Checkpoint) -> tuple[int, int, float]:
    return *_place(checkpoint.position), checkpoint.manifest.created
