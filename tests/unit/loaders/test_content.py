"""The digest of a batch: what it holds decides, and nothing else."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from unbroken.loaders.content import content_digest


@dataclass
class Pair:
    """As graph and speech libraries hand batches out."""

    x: torch.Tensor
    names: list[str]


def batch() -> dict[str, Any]:
    return {
        "x": torch.arange(12.0).reshape(3, 4),
        "y": (np.arange(3), torch.tensor(True)),
        "half": torch.ones(3, dtype=torch.bfloat16).t(),
        "pair": Pair(torch.zeros(0), ["a", "b"]),
        "text": ["ሰላም", None, 3, 2.5],
        "user": UserDict(z=torch.ones(2, dtype=torch.complex64).conj()),
    }


def test_equal_batches_have_equal_digests() -> None:
    """Of whatever they are made."""
    assert content_digest(batch()) == content_digest(batch())
    assert content_digest(torch.ones(4, 2).t()) == content_digest(torch.ones(2, 4))


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b["x"].__setitem__((1, 1), 7),
        lambda b: b["y"][0].__setitem__(2, 9),
        lambda b: b.__setitem__("x", b["x"].double()),
        lambda b: b.__setitem__("x", b["x"].reshape(4, 3)),
        lambda b: b["pair"].names.reverse(),
        lambda b: b["text"].__setitem__(0, "ሰላ"),
        lambda b: b["user"].__setitem__("z", torch.ones(2, dtype=torch.complex64) * 1j),
        lambda b: b.pop("half"),
    ],
)
def test_whatever_differs_shows(change: Any) -> None:
    """Values, types, shapes, names and order."""
    other = batch()
    change(other)
    assert content_digest(batch()) != content_digest(other)


def test_a_large_tensor_is_read_in_windows() -> None:
    """Its ends and what lies between are looked at; a permutation of its rows shows."""
    large = torch.arange(1_000_000.0).reshape(1000, 1000)
    for row in (0, 999):
        other = large.clone()
        other[row] += 1
        assert content_digest(large) != content_digest(other)
    assert content_digest(large) != content_digest(large.flip(0))


def test_golden_digests() -> None:
    """A resume compares with what an earlier version has read: these digests stay."""
    large = torch.arange(100_000.0)
    nested = {"x": torch.arange(12.0).reshape(3, 4), "y": ("a", 1, None)}
    assert ["db10f07b3c31fd83", "bcda5a7c7ce12677"] == [
        content_digest(each) for each in (large, nested)
    ]
