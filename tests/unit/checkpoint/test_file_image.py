"""The digests of an image are those of its bytes."""

from __future__ import annotations

import torch
import xxhash

from unbroken.checkpoint.file_image import DIGEST_BLOCK, FileImage


def test_both_digests_come_from_one_pass() -> None:
    """The file's digest is of its content, a leaf's of its bytes, for empty and large ones too."""
    tensors = {
        "empty": torch.empty(0, 3),
        "one": torch.tensor(1.5),
        "large": torch.arange(DIGEST_BLOCK // 4 + 7, dtype=torch.int32),
        "last": torch.ones(5, dtype=torch.bool),
    }
    image = FileImage(tensors)
    image.capture(tensors)
    whole, leaves = image.digests()
    assert xxhash.xxh3_128_hexdigest(image.content()) == whole
    assert {name: xxhash.xxh3_128_hexdigest(image.leaf(name)) for name in tensors} == leaves


def test_an_image_without_tensors_has_a_digest() -> None:
    """Only its header is there."""
    image = FileImage({})
    image.capture({})
    assert (xxhash.xxh3_128_hexdigest(image.content()), {}) == image.digests()
