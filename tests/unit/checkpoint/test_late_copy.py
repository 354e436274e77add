"""A late copy lets no update through before it is made, and finds what else was written meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbroken.checkpoint.late_copy import LateCopy
from unbroken.errors import SaveFailed
from unbroken.state.digest import host_bytes


def late_copy(tensors: dict[str, torch.Tensor]) -> tuple[LateCopy, dict[str, np.ndarray]]:
    """Return a late copy and where it copies to."""
    places = {name: np.zeros(each.nbytes, dtype=np.uint8) for name, each in tensors.items()}
    return LateCopy(tensors, lambda leaf: places[leaf]), places


def test_every_byte_is_copied() -> None:
    """Large tensors, of one entry and of odd sizes all arrive."""
    tensors = {
        "large": torch.arange((2 << 20) + 5, dtype=torch.float64),
        "one": torch.tensor([True]),
        "odd": torch.arange(7, dtype=torch.int16),
    }
    copy, places = late_copy(tensors)
    copy.make()
    assert {n: bytes(host_bytes(each)) for n, each in tensors.items()} == {
        n: each.tobytes() for n, each in places.items()
    }


def test_the_fence_opens_when_the_copies_are_made() -> None:
    """Whoever stands there before waits; later nobody does."""
    copy, _ = late_copy({"a": torch.ones(3)})
    through = threading.Event()

    def update() -> None:
        copy.fence()
        through.set()

    waiting = threading.Thread(target=update)
    waiting.start()
    assert not through.wait(0.05)
    copy.make()
    assert through.wait(60)
    waiting.join()
    assert 0.0 == copy.fence()


def in_place(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.add_(1)


def past_the_count(tensor: torch.Tensor) -> None:
    tensor.data.add_(1)


def through_numpy(tensor: torch.Tensor) -> None:
    tensor.detach().numpy()[...] += 1


def by_copy(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.copy_(tensor + 1)


def by_fused_update(tensor: torch.Tensor) -> None:
    tensor.grad = torch.ones_like(tensor)
    torch.optim.AdamW([tensor], lr=0.1, fused=True).step()


WRITES = [in_place, past_the_count, through_numpy, by_copy, by_fused_update]


@pytest.mark.parametrize("write", WRITES)
def test_a_write_before_the_copy_is_found(write: Callable[[torch.Tensor], None]) -> None:
    """However it is done, the save is refused by the leaf's name, and the fence opens all the same."""
    tensors = {"still": torch.ones(9), "moved": torch.nn.Parameter(torch.ones(5, 40))}
    copy, _ = late_copy({name: each.detach() for name, each in tensors.items()})
    write(tensors["moved"])
    with pytest.raises(SaveFailed, match="moved"):
        copy.make()
    assert 0.0 == copy.fence()


def test_a_write_to_one_entry_is_found_by_torchs_count() -> None:
    """Entries that were kept need not be among those that were written."""
    tensor = torch.zeros(100_000)
    copy, _ = late_copy({"a": tensor})
    tensor[77_777] = 1.0
    with pytest.raises(SaveFailed):
        copy.make()


@given(
    count=st.integers(1, 5_000),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64, torch.int8, torch.bool]),
)
def test_a_write_to_all_entries_is_found_past_torchs_count(count: int, dtype: torch.dtype) -> None:
    """Of tensors of any size and kind."""
    tensor = torch.zeros(count, dtype=dtype)
    copy, _ = late_copy({"a": tensor})
    tensor.data.fill_(1)
    with pytest.raises(SaveFailed):
        copy.make()


def test_a_new_tensor_in_the_place_of_the_old_one_changes_nothing() -> None:
    """The module holds another one then; what was to be saved is still the old one's content."""
    parameter = torch.nn.Parameter(torch.ones(4))
    copy, places = late_copy({"a": parameter.detach()})
    parameter.data = torch.zeros(4)
    copy.make()
    assert torch.ones(4).numpy().tobytes() == places["a"].tobytes()


def test_a_write_to_one_column_is_found_past_torchs_count() -> None:
    """The entries that are kept do not all lie in one column of a matrix."""
    for rows, columns in ((512, 512), (64, 1024), (300, 768)):
        tensor = torch.ones(rows, columns)
        copy, _ = late_copy({"a": tensor})
        tensor.data[:, columns // 2 :] = 0
        with pytest.raises(SaveFailed):
            copy.make()
