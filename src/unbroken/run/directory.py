"""The directory of a run as others read it: its paths, its identity, its steps, its checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unbroken.checkpoint import run_directory
from unbroken.checkpoint.layout import MANIFEST, Layout, Place, place_in_name
from unbroken.checkpoint.lock import require_free
from unbroken.checkpoint.read import Checkpoint
from unbroken.journal.journal import last_line_of_each_step, read_lines
from unbroken.run.source import find_source


class RunDirectory(Layout):
    """What lies in the directory of a run, read without changing it.

    The directory needn't hold a run, nor exist. `Run.layout` and `ResumeSource.layout` have the same
    paths.

    Args:
        root: The directory.
    """

    def __init__(self, root: Path | str) -> None:
        super().__init__(Path(root))

    @property
    def run_id(self) -> str | None:
        """The run's id; None where no run is.

        Raises:
            SettingsInvalid: `run.json` is there, but this version can't continue such a run.
        """
        return run_directory.run_id_of(self)

    @property
    def created(self) -> float | None:
        """When the run began, in seconds since 1970; None where nothing readable says so."""
        try:
            created = float(json.loads(self.run_file.read_text("utf-8"))["created"])
            time.gmtime(created)  # a file that somebody edited may name no moment at all
        except (ValueError, KeyError, TypeError, OverflowError, OSError):
            return None
        return created

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the journal's lines as they were written; a step that was repeated has several."""
        return read_lines(self.journal)

    def steps(self) -> dict[int, dict[str, Any]]:
        """Return by number the line that counts of each step: the last one."""
        return last_line_of_each_step(self.journal)

    def checkpoint_before(self, checkpoint: Path) -> Path | None:
        """Return the complete checkpoint that was saved before one; None where there is none."""
        complete = [each for each in self.checkpoints.glob("step-*") if (each / MANIFEST).is_file()]
        earlier = [each for each in complete if _place(each) < _place(checkpoint)]
        return max(earlier, key=_place, default=None)

    def require_free(self) -> None:
        """Find out early whether another process of this host writes to the run; nothing is taken.

        Raises:
            DirectoryInUse: One does.
        """
        require_free(self)

    def finish_moving(self) -> None:
        """Complete the move of a run to `earlier/` that was interrupted; the only change made here."""
        run_directory.finish_moving(self)


def _place(checkpoint: Path) -> Place:
    """Return where a checkpoint of this name stands; what is none's comes before all."""
    return place_in_name(checkpoint.name) or (-1, 0)


def find_checkpoint(path: Path | str) -> Checkpoint:
    """Find a run's newest checkpoint that is whole, or open the one that is named; it is verified.

    Args:
        path: The directory of a run, or of one of its checkpoints.

    Raises:
        NoUsableCheckpoint: There is none.
        CheckpointCorrupt: The one that was named is damaged.
    """
    checkpoint = find_source(Path(path), str(path)).checkpoint
    assert checkpoint is not None  # an explicit path is found or refused
    return checkpoint
