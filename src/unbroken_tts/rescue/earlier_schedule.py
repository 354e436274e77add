"""The learning-rate curve of the earlier trainer, for comparison with its runs."""

from __future__ import annotations

import math
from collections.abc import Callable


def warmup_cosine_legacy(warmup: int, total: int) -> Callable[[int], float]:
    """Return the earlier trainer's curve: `k / warmup`, then `0.5 (1 + cos)`, beginning at 0."""

    def factor(updates: int) -> float:
        if updates < warmup:
            return updates / warmup
        share = (updates - warmup) / max(1, total - warmup)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * share)))

    return factor
