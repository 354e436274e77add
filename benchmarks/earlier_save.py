"""How the earlier trainer writes a checkpoint: the whole state twice, one of two files fsynced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def write_twice(state: dict[str, Any], directory: Path, step: int) -> list[Path]:
    """Write model_step{N}.pth, then latest.pth aside, fsync that and rename it; return both."""
    numbered = directory / f"model_step{step}.pth"
    torch.save(state, numbered)
    latest = directory / "latest.pth"
    aside = directory / "latest.pth.tmp"
    with aside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(latest)
    return [numbered, latest]
