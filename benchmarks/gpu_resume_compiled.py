"""Part 1 once more, with `torch.compile` of the transformer's blocks."""

from __future__ import annotations

from gpu_part import Note
from gpu_resume import COMPILED, DRY, kill_and_resume


def measure(device: str, *, small: bool, note: Note) -> None:
    """Kill and resume a training whose blocks are compiled."""
    kill_and_resume(DRY if small else COMPILED, device, small=small, note=note)
