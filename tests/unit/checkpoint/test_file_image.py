"""An image holds the bytes of its tensors, and its digests are those of its bytes."""

from __future__ import annotations

import pytest
import torch
import xxhash

from unbroken.checkpoint.file_image import COPY_BLOCK, FileImage
from unbroken.checkpoint.segment import whole_file
from unbroken.state.digest import host_bytes


def test_every_byte_is_digested_once() -> None:
    """The header and the tensors, empty ones too, follow one another and fill the file."""
    tensors = {
        "empty": torch.empty(0, 3),
        "one": torch.tensor(1.5),
        "large": torch.arange(1 << 18, dtype=torch.int32),
        "last": torch.ones(5, dtype=torch.bool),
    }
    image = FileImage(tensors)
    image.capture(tensors)
    segments = image.digests()
    assert [None, *tensors] == [each.leaf for each in segments]
    assert [0, *(each.end for each in segments)] == [
        *(each.begin for each in segments),
        len(image.content()),
    ]
    for each in segments:
        content = image.content()[each.begin : each.end]
        assert xxhash.xxh3_128_hexdigest(content) == each.digest
        assert each.leaf is None or image.leaf(each.leaf) == content


def test_an_image_without_tensors_is_one_segment() -> None:
    """Only its header is there."""
    image = FileImage({})
    image.capture({})
    assert whole_file(bytes(image.content())) == image.digests()


@pytest.mark.skipif(torch.cuda.is_available(), reason="runs without a CUDA device, as in CI")
def test_memory_that_cannot_be_page_locked_is_taken_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Saves copy slower then, and it is said; nothing ends."""
    tensors = {"a": torch.arange(4.0)}
    image = FileImage(tensors, pinned=True)
    image.capture(tensors)
    assert image.leaf("a") == tensors["a"].numpy().tobytes()
    assert "No page-locked memory" in caplog.text


def test_every_piece_of_a_large_tensor_is_copied_to_its_place() -> None:
    """Two threads share a copy; tensors of many pieces, views and empty ones all arrive."""
    tensors = {
        "large": torch.arange(2 * COPY_BLOCK // 8 + 3, dtype=torch.int64),
        "turned": torch.arange(12.0).reshape(3, 4).t(),
        "empty": torch.empty(0),
        "conjugate": torch.tensor([1 + 2j, 3 - 4j]).conj(),
        "small": torch.tensor(7, dtype=torch.int16),
    }
    image = FileImage(tensors)
    for _ in range(2):
        image.capture(tensors)
        for name, tensor in tensors.items():
            assert host_bytes(tensor) == image.leaf(name)
        tensors["large"] += 1  # the next capture is of other values
