"""How many processor cores there are for this process, and what training leaves of them."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return how many cores this process may run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # Linux: a batch system may have given us only some
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def spare_cores() -> int:
    """Return how many of them torch's computing threads leave over, at least 0."""
    import torch  # noqa: PLC0415  # slow to import, and who only counts cores needs none of it

    return max(0, usable_cores() - torch.get_num_threads())
