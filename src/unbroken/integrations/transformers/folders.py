"""The trainer's own folders, `checkpoint-N`: each is complete, durable and read back, or it isn't there.

1. `transformers` writes into a hidden folder.
2. Every file is flushed to the device, read back from it and compared; a list of all files with their
   digests is written last.
3. One rename gives the folder its name. One that is deleted loses its name first.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from unbroken.checkpoint import disk
from unbroken.errors import CheckpointCorrupt, SaveFailed
from unbroken.integrations.listed_folder import fault_in, listed_in, seal

HIDDEN: Final = ".unbroken"
"""What is being written or deleted lies here, beside the folders."""

_log = logging.getLogger("unbroken")


class TrainerFolders:
    """Writes and deletes the folders in an output directory.

    Args:
        root: The trainer's `output_dir`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hidden = root / HIDDEN
        self.scratch = root / f"{HIDDEN}-{os.getpid()}"
        """Where this process may save something to look at it; it is not there before nor afterwards."""
        self.is_saving = False
        """Whether a folder is being written."""

    def sweep(self) -> None:
        """Delete what an interruption left, and hide each folder that lost one of its files."""
        for each in self.root.glob(f"{HIDDEN}*"):
            disk.remove_tree(each)
        for each in self.root.glob("checkpoint-*"):
            lacking = lacking_files(each)
            if lacking:
                _log.warning("%s is not whole, and is deleted: %s", each, ", ".join(lacking[:3]))
                self.delete(each)

    @contextmanager
    def saving(self, name: str) -> Iterator[Path]:
        """Yield the hidden folder to be written; it gets its name when the block ends.

        Args:
            name: Such as `checkpoint-500`.

        Raises:
            SaveFailed: The disk refused, or other bytes were read back. What was there is untouched.
        """
        aside = self.hidden / name
        try:
            disk.remove_tree(aside)
            disk.make_directory(self.hidden)
            self.is_saving = True
            try:
                yield aside
            finally:
                self.is_saving = False
            seal(aside)
            target = self.root / name
            if target.exists():  # a step that is repeated after a kill
                self.delete(target)
            disk.rename(aside, target)
        except OSError as error:
            with suppress(OSError):
                disk.remove_tree(aside)
            raise SaveFailed(
                f"{self.root / name} could not be written: {error}.",
                "The trainer's folder of this step does not exist; older ones are untouched.",
                "Free space on the disk, or check its permissions, and start again.",
            ) from error

    def delete(self, folder: Path) -> None:
        """Delete a folder; it loses its name first, so that no part of it is taken for the whole."""
        aside = self.hidden / f"deleted-{folder.name}"
        disk.make_directory(self.hidden)
        disk.remove_tree(aside)
        disk.rename(folder, aside)
        disk.remove_tree(aside)

    def keep(self, limit: int | None, best: str | None) -> None:
        """Delete the oldest folders beyond a limit, but for the newest and the best.

        Args:
            limit: How many may stay; None or 0 for all.
            best: The path of the best; None for none.
        """
        if not limit or limit <= 0:
            return
        found = [(int(number), each) for each in self.root.glob("checkpoint-*")
                 if (number := each.name.rpartition("-")[2]).isdigit()]  # fmt: skip
        folders = [each for _, each in sorted(found)]
        spared = set(folders[-1:]) | {
            each for each in folders if best and each.name == Path(best).name
        }
        left = len(folders)
        for each in folders:
            if left > max(limit, len(spared)) and each not in spared:
                self.delete(each)
                left -= 1


def lacking_files(folder: Path) -> list[str]:
    """Return the files of a folder that are missing or have another size; none where nothing is listed."""
    return [
        name
        for name, of in _listed(folder).items()
        if not (folder / name).is_file() or (folder / name).stat().st_size != of["size"]
    ]


def require_whole(folder: Path) -> None:
    """Read every file of a folder and compare it with the list.

    Raises:
        CheckpointCorrupt: A file is missing, or its bytes are not the ones that were saved.
    """
    if fault := fault_in(folder, _listed(folder)):
        raise CheckpointCorrupt(
            f"The bytes of {folder / fault[0]} are not the ones that were saved.",
            "The model in it would be another one.",
            "Use another folder, or train the step again from the run's own checkpoints.",
        )


def _listed(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        return listed_in(folder)
    except (OSError, ValueError):  # the trainer's alone, or a stranger's
        return {}
