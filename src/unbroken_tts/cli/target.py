"""Checks the file or directory that a command is to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbroken import SettingsInvalid


def require_free(target: Path, *, is_forced: bool) -> None:
    """Refuse to overwrite a file unless --force is given.

    Raises:
        SettingsInvalid: The file exists without --force, or a directory has its name.
    """
    if target.is_dir() or (target.exists() and not is_forced):
        raise SettingsInvalid(
            f"{target} exists.",
            "Existing files are overwritten only with --force.",
            "Name another file, or add --force to replace it.",
        )


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a message about the target.

    Raises:
        SettingsInvalid: The target can't be written.
    """
    try:
        yield
    except OSError as error:
        raise SettingsInvalid(
            f"{target} can't be written: {error}.",
            "The command's result can't be saved.",
            "Name a path that you may write to, on a disk with free space.",
        ) from error
