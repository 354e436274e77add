"""Checkpoints of format 1, as earlier versions wrote them: a digest over each file."""

from __future__ import annotations

from pathlib import Path

from unbroken.checkpoint.formats import closed
from unbroken.checkpoint.layout import MANIFEST
from unbroken.checkpoint.manifest import read_manifest
from unbroken.state.digest import file_digest


def as_format_1(checkpoint: Path) -> None:
    """Write the manifest of a whole checkpoint anew; its other files are the same in both formats."""
    found = read_manifest(checkpoint).model_dump(exclude_none=True) | {"format": 1}
    for name, each in found["files"].items():
        del each["head"]
        each["digest"] = file_digest(checkpoint / name)
    for each in found["leaves"].values():
        del each["begin"]
    (checkpoint / MANIFEST).write_bytes(closed(found))


def as_format(version: int, checkpoint: Path) -> Path:
    """Return a checkpoint that was just written, as this format has it."""
    if version == 1:
        as_format_1(checkpoint)
    return checkpoint
