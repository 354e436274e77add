"""Tells what a file of weights, a training checkpoint or a run contains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unbroken_tts.inspection.file import inspect_file
from unbroken_tts.inspection.report import Count, Inspection
from unbroken_tts.inspection.run import inspect_run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Count", "Inspection", "inspect_path"]


def inspect_path(path: Path, *, entry: str | None = None) -> Inspection:
    """Inspect a file or a directory.

    Args:
        path: A file of weights, a run or one of its checkpoints, a folder of the inference program, or
            the output of the earlier trainer.
        entry: Which weights of a file that has several.

    Raises:
        DataInvalid: A file is missing, damaged, or no file of weights.
        SettingsInvalid: It has several sets of weights and none is named.
        NoUsableCheckpoint: A directory contains nothing to inspect.
        CheckpointCorrupt: A checkpoint is damaged.
    """
    if not path.is_dir():
        return inspect_file(path, entry=entry)
    file = _file_in(path)
    if file is not None:
        return inspect_file(file, entry=entry)
    return inspect_run(path)


def _file_in(folder: Path) -> Path | None:
    """Return the file of weights that a folder of another program is about."""
    steps = sorted(folder.glob("model_step*.pth"), key=lambda each: (len(each.name), each.name))
    candidates = [folder / "latest.pth", *reversed(steps), folder / "gpt.pth"]
    candidates += sorted(folder.glob("*.index.json"))
    is_run = (folder / "run.json").is_file() or (folder / "manifest.json").is_file()
    return None if is_run else next((each for each in candidates if each.is_file()), None)
