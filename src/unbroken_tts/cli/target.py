"""The file or directory that a command was asked to write: free, and possible to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbroken import SettingsInvalid


def require_free(target: Path, *, is_forced: bool) -> None:
    """Refuse to overwrite a file that nobody allowed to be overwritten.

    Raises:
        SettingsInvalid: The file is there; or a directory is, whatever was allowed.
    """
    if target.is_dir() or (target.exists() and not is_forced):
        raise SettingsInvalid(
            f"{target} is already there.",
            "Nothing is overwritten without being asked for.",
            "Name another file, or add --force to replace it.",
        )


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Tell of a place that can't be written while the block writes it.

    Raises:
        SettingsInvalid: The system refused.
    """
    try:
        yield
    except OSError as error:
        raise SettingsInvalid(
            f"{target} can't be written: {error}.",
            "What was asked for would have no place.",
            "Name a place on a disk with space that you may write to.",
        ) from error
