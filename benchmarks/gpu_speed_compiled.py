"""Part 3, with `torch.compile` of the transformer's blocks."""

from __future__ import annotations

import torch
from gpu_part import Note
from gpu_speed import measure_present


def measure(device: str, *, small: bool, note: Note) -> None:
    """Measure our training with its blocks compiled."""
    torch._logging.set_logs(recompiles=True, graph_breaks=True)  # type: ignore[attr-defined]  # noqa: SLF001  # its public face
    backend = "aot_eager" if small else "inductor"
    measure_present(device, small=small, note=note, compiled=backend)
