"""What the tests of the contract share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from unbroken.checkpoint import disk
from unbroken.selftest.base import WithoutSyncs
from unbroken.selftest.trial import Trials


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """Return what tries faults, on one thread and without asking the disk for durability."""
    threads, system = torch.get_num_threads(), disk.system
    torch.set_num_threads(1)
    disk.system = WithoutSyncs()
    yield Trials(tmp_path_factory.mktemp("trials"))
    disk.system = system
    torch.set_num_threads(threads)
