"""Resolves a PATH on the command line: a checkpoint, or the directory of a run."""

from __future__ import annotations

from pathlib import Path

from unbroken.checkpoint.layout import MANIFEST, Layout, Place, is_checkpoint_name, place_in_name
from unbroken.errors import NoUsableCheckpoint


def checkpoints_at(path: Path) -> list[Path]:
    """Return the checkpoint directories of a path, oldest position first.

    Args:
        path: A checkpoint, a run's directory, `latest` in one for its newest checkpoint, or the
            `checkpoints` in it.

    Raises:
        NoUsableCheckpoint: There is none.
    """
    path = newest_if_latest(path)
    if (path / MANIFEST).exists() or (path.is_dir() and is_checkpoint_name(path.name)):
        return [path]
    for place in (Layout(path).checkpoints, path):
        if place.is_dir():
            found = [each for each in place.iterdir() if _is_called_one(each)]
            if found:
                return sorted(found, key=_order)
    raise NoUsableCheckpoint(
        f"{path} is neither a checkpoint nor a directory with checkpoints.",
        "There is nothing to read.",
        "Name a directory under checkpoints/, or the directory of a run.",
    )


def one_checkpoint_at(path: Path) -> Path:
    """Return the checkpoint of a path; for a run's directory, the one furthest on.

    Raises:
        NoUsableCheckpoint: There is none.
    """
    return checkpoints_at(path)[-1]


def newest_if_latest(path: Path) -> Path:
    """Return the newest checkpoint of a run for `latest` in its directory, and any other path as it is.

    Raises:
        NoUsableCheckpoint: The run has none.
    """
    if path.name != Layout(path).latest.name or path.is_dir():
        return path
    return one_checkpoint_at(path.parent)


def run_directory_of(checkpoint: Path) -> Layout:
    """Return the run's directory that contains a checkpoint."""
    return Layout(checkpoint.absolute().parent.parent)


def _is_called_one(path: Path) -> bool:
    return path.is_dir() and is_checkpoint_name(path.name)


def _order(path: Path) -> Place:
    place = place_in_name(path.name)
    assert place is not None
    return place
