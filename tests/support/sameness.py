"""What "the same" means in tests: type, structure and every bit, NaN and -0.0 included."""

from __future__ import annotations

import math
import struct
from collections import Counter, OrderedDict, deque
from typing import Any

import numpy as np
import torch

from unbroken.state.generators import generator_state, is_generator


def same(a: Any, b: Any) -> bool:
    """Say whether two nested values are the same in type, structure and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return _same_tensors(a, b)
    if isinstance(a, np.ndarray | np.generic):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if is_generator(a):
        return same(generator_state(a), generator_state(b))
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, dict | OrderedDict | Counter):
        return len(a) == len(b) and all(
            same(x, y) and same(a[x], b[y]) for x, y in zip(a, b, strict=True)
        )
    if isinstance(a, list | tuple | deque):
        limits = getattr(a, "maxlen", None) == getattr(b, "maxlen", None)
        return limits and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def _same_tensors(a: torch.Tensor, b: torch.Tensor) -> bool:
    if (a.dtype, a.shape, a.device) != (b.dtype, b.shape, b.device):
        return False
    whole = [each.detach().clone(memory_format=torch.contiguous_format) for each in (a, b)]
    flat = [each.as_strided((each.numel(),), (1,)) for each in whole]
    return a.numel() == 0 or torch.equal(*(each.view(torch.uint8) for each in flat))
