"""One thread for arithmetic whose bits are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_thread() -> Iterator[None]:
    """Run torch on one thread inside, and put the former count back.

    Sums cut among threads round differently from count to count; features are compared bit for bit
    between runs, also on machines with other numbers of cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
