"""Digests: one differing bit is seen, and the literals are forever."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unbroken.state.digest import (
    DIGEST_SCHEME,
    combined_digest,
    file_digest,
    host_bytes,
    tensor_digest,
    tensor_digests,
)


def test_golden_literals() -> None:
    """Scheme 1 gives these digests for ever."""
    assert 1 == DIGEST_SCHEME
    assert "99aa06d3014798d86001c324468d497f" == tensor_digest(torch.empty(0))
    assert GOLDEN_ARANGE == tensor_digest(torch.arange(4, dtype=torch.float32))
    assert GOLDEN_COMBINED == combined_digest(
        [("a", torch.arange(3)), ("b", torch.ones(2, dtype=torch.bfloat16))]
    )


GOLDEN_ARANGE = "8852304960645e65c790ab1c20deb2f0"
GOLDEN_COMBINED = "fda27a78b942bb56cf98f74b055c14e8"


def test_many_digests_are_those_of_each() -> None:
    """Two threads make them; names and digests stay together, and nothing gives nothing."""
    tensors = {str(count): torch.arange(count) for count in (0, 1, 5, 70_000)}
    assert {name: tensor_digest(each) for name, each in tensors.items()} == tensor_digests(tensors)
    assert {} == tensor_digests({})


@given(st.integers(0, 63), st.integers(0, 7))
def test_one_flipped_bit_is_seen(byte: int, bit: int) -> None:
    """A digest changes with any bit of the tensor."""
    tensor = torch.zeros(64, dtype=torch.uint8)
    before = tensor_digest(tensor)
    tensor[byte] = 1 << bit
    assert before != tensor_digest(tensor)


def test_sign_of_zero_and_payload_of_nan_are_seen() -> None:
    """Values that compare equal, or equal to nothing, are told apart by their bits."""
    assert tensor_digest(torch.tensor([0.0])) != tensor_digest(torch.tensor([-0.0]))
    nan = torch.tensor([0x7FC00000, 0x7FC00001], dtype=torch.int32).view(torch.float32)
    assert tensor_digest(nan[:1]) != tensor_digest(nan[1:])


@pytest.mark.parametrize(
    "view",
    [
        torch.arange(12.0).reshape(3, 4).T,
        torch.arange(12.0)[::2],
        torch.arange(3.0).expand(4, 3),
        torch.tensor([1 + 2j, 3 - 4j]).conj(),
        torch.tensor([1 + 2j, 3 - 4j]).conj().imag,
        torch.tensor(3.0),
        torch.arange(4.0).reshape(2, 2)[1:, :1],
        torch.ones(1, 1, 2)[..., 0],
        torch.nn.Parameter(torch.ones(2)),
    ],
)
def test_a_view_has_the_digest_of_its_copy(view: torch.Tensor) -> None:
    """Strides, lazy conjugation and negation change nothing: the values' own bytes count."""
    copy = torch.empty(view.shape, dtype=view.dtype)
    copy.copy_(view.detach())
    assert tensor_digest(copy) == tensor_digest(view)
    assert copy.numel() * copy.element_size() == len(host_bytes(view))


def test_combined_digest_tells_names_dtypes_shapes_and_order_apart() -> None:
    """Equal bytes under another name, dtype, shape or order are another digest."""
    a, b = torch.zeros(4), torch.ones(4)
    variants = [
        [("a", a), ("b", b)],
        [("b", b), ("a", a)],
        [("a", b), ("b", a)],
        [("a", a.reshape(2, 2)), ("b", b)],
        [("a", a.view(torch.int32)), ("b", b)],
        [("a", a)],
    ]
    assert len(variants) == len({combined_digest(each) for each in variants})


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    """A file that is longer than a block has the digest of all its bytes."""
    content = torch.arange(600_000, dtype=torch.float64)
    path = tmp_path / "file"
    path.write_bytes(host_bytes(content))
    assert tensor_digest(content) == file_digest(path)


def test_a_storage_that_was_looked_at_can_still_be_resized() -> None:
    """Observers of quantisation and queues resize their buffers in place; looking must not end that."""
    tensor = torch.arange(4.0)
    looked_at = (host_bytes(tensor), tensor_digest(tensor), combined_digest([("a", tensor)]))
    assert len(looked_at[0]) == 16
    tensor.resize_(400)
    assert torch.equal(torch.arange(4.0), tensor[:4])


def test_bytes_keep_their_tensor_alive() -> None:
    """Whoever holds the bytes holds the memory, whatever became of the tensor."""
    kept = host_bytes(torch.full((1000,), 7, dtype=torch.uint8))
    others = [torch.zeros(1000, dtype=torch.uint8) for _ in range(50)]
    assert (bytes([7]) * 1000, 50) == (bytes(kept), len(others))
