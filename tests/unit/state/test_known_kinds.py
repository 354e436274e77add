"""Objects of a known safe kind, odd tensors and large arrays inside a state come back as they were."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from support.sameness import same
from unbroken.errors import CheckpointCorrupt
from unbroken.state.codec import LARGE, decode, encode


class Point(NamedTuple):
    x: int
    y: Any


class Colour(Enum):
    RED = "r"
    BLUE = ["b"]  # noqa: RUF012  # a value that can't be hashed


@dataclass(frozen=True, slots=True)
class Record:
    count: int
    scores: torch.Tensor


def as_read(value: Any) -> Any:
    """Return a value as a checkpoint gives it back."""
    tensors: dict[str, Any] = {}
    return decode(json.loads(json.dumps(encode(value, "part", tensors))), tensors)


def test_objects_of_known_kinds_come_back() -> None:
    """Enum members are themselves; named tuples, data classes and default dicts keep their class."""
    assert as_read(Colour.BLUE) is Colour.BLUE
    point = as_read(Point(1, (2,)))
    assert (Point, (2,)) == (type(point), point.y)
    record = as_read(Record(3, torch.ones(2)))
    assert isinstance(record, Record)
    assert torch.equal(torch.ones(2), record.scores)
    made = as_read(defaultdict(list, {3: [1]}))
    assert (defaultdict(list, {3: [1]}), list) == (made, made.default_factory)


@pytest.mark.parametrize("name", ["os:system", "nowhere:Kind", "builtins:int", "random:Random"])
@pytest.mark.parametrize("kind", ["enum", "named tuple", "data class"])
def test_a_class_of_another_kind_is_never_made(kind: str, name: str) -> None:
    """A crafted file can name nothing but enums, named tuples and data classes that are imported."""
    crafted = {"$": "known", "of": kind, "class": name, "items": [], "fields": {}, "name": "x"}
    with pytest.raises(CheckpointCorrupt):
        decode(crafted, {})


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.sparse_coo_tensor(torch.tensor([[1, 1]]), torch.ones(2), (3,)),
        lambda: torch.eye(4).to_sparse_csr(),
        lambda: torch.eye(4).to_sparse_bsc((2, 2)),
        lambda: torch.quantize_per_tensor(torch.tensor([0.3, 1.2]), 0.1, 2, torch.qint8),
        lambda: torch.quantize_per_channel(
            torch.eye(2), torch.full((2,), 0.1), torch.zeros(2).long(), 0, torch.quint8
        ),
        lambda: torch.tensor([1 + 2j], dtype=torch.complex128),
        lambda: torch.tensor([1 + 2j], dtype=torch.complex128).conj(),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch's own: some of these forms are in beta
def test_tensors_that_the_file_has_no_form_for_come_back(make: Callable[[], torch.Tensor]) -> None:
    """Sparse, quantised and double complex tensors are taken apart, and put together as they were."""
    tensor = make()
    back = as_read(tensor)
    pieces: dict[str, Any] = {}
    again: dict[str, Any] = {}
    assert (tensor.dtype, tensor.layout, tensor.shape) == (back.dtype, back.layout, back.shape)
    assert encode(tensor, "part", pieces) == encode(back, "part", again)
    assert pieces.keys() == again.keys()
    assert all(torch.equal(each, again[name]) for name, each in pieces.items())


@pytest.mark.parametrize(
    "value",
    [
        np.arange(LARGE, dtype=np.int32).reshape(-1, 2),
        np.arange(LARGE)[::2],
        np.array(["text"] * LARGE),
        b"a" * LARGE,
        bytearray(b"b" * LARGE),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_is_large_goes_to_the_tensors(value: Any) -> None:
    """The JSON of a state stays small, whatever an array holds; one of fewer bytes stays in it."""
    tensors: dict[str, Any] = {}
    form = encode(value, "part", tensors)
    assert len(json.dumps(form)) < 200
    assert same(value, decode(form, tensors))
    small: dict[str, Any] = {}
    encode(value[:2], "part", small)
    assert not small
