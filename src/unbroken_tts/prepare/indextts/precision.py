"""Computes in full float32 on a card: rounding to TF32 would make other codes than a processor does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Switch TF32 off within a block, and back after it; nothing is changed for a processor."""
    if device.type != "cuda":
        yield
        return
    switches: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [each.allow_tf32 for each in switches]
    try:
        for each in switches:
            each.allow_tf32 = False
        yield
    finally:
        for each, was in zip(switches, before, strict=True):
            each.allow_tf32 = was
