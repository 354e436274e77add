"""Keeps what an export needs beside the weights in the run: configuration and tokenizer."""

from __future__ import annotations

from pathlib import Path

from unbroken import RunDirectory, SaveFailed, atomic_write


def kept_config(root: Path) -> Path:
    """Return the place of a run's copy of the model configuration, with all its sections."""
    return RunDirectory(root).base / "config.yaml"


def kept_tokenizer(root: Path) -> Path:
    """Return the place of a run's copy of its tokenizer."""
    return RunDirectory(root).base / "tokenizer.model"


def keep_files(root: Path, config: Path, tokenizer: Path) -> None:
    """Copy configuration and tokenizer into the run, unless they are there already.

    Raises:
        SaveFailed: The disk is full, or the directory can't be written.
    """
    for source, place in ((config, kept_config(root)), (tokenizer, kept_tokenizer(root))):
        try:
            content = source.read_bytes()
            if place.is_file() and place.read_bytes() == content:
                continue
            with atomic_write(place) as aside:
                aside.write_bytes(content)
        except OSError as error:
            raise SaveFailed(
                f"{source} could not be copied to {place}: {error}.",
                "Without it the run could not be exported when the original is gone. Nothing was "
                "trained yet.",
                "Free space on the disk, or check its permissions, and start again.",
            ) from error
