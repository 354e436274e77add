"""What training leaves of the cores is counted from torch's computing threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from unbroken.cores import spare_cores, usable_cores


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_threads_take_cores(more: int) -> None:
    """One thread fewer than cores leaves one over; as many, or more, leave none."""
    threads = usable_cores() + more
    if threads < 1:
        pytest.skip("one core: runs where there are two, so in CI")
    torch.set_num_threads(threads)
    assert max(0, -more) == spare_cores()
