"""The typed codec: what goes in comes out, with its types, or is refused by name."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from support.sameness import same
from unbroken.errors import CheckpointCorrupt, NotEncodable
from unbroken.state.codec import MAX_DEPTH, decode, encode
from unbroken.state.dtypes import DTYPES


def there_and_back(value: Any) -> Any:
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(encode(value, "part", tensors), allow_nan=False, ensure_ascii=False)
    return decode(json.loads(text.encode()), tensors)


def any_tensor(dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    raw = torch.arange(size, dtype=torch.int64).mul(37).remainder(251).to(torch.uint8)
    if dtype is torch.bool:
        raw = raw % 2
    whole = raw.view(dtype) if size else torch.empty(0, dtype=dtype)
    return whole.reshape(shape)


TENSORS = st.builds(
    any_tensor,
    st.sampled_from(sorted(DTYPES.values(), key=str)),
    st.sampled_from([(), (1,), (0,), (3,), (2, 0, 3), (2, 3), (1, 1, 2)]),
)
PLAIN_NUMPY = (
    hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?")
    | hnp.complex_number_dtypes(endianness="?")
    | hnp.boolean_dtypes()
    | hnp.byte_string_dtypes()
    | hnp.unicode_string_dtypes()
    | hnp.datetime64_dtypes()
    | hnp.timedelta64_dtypes()
)
ARRAYS = PLAIN_NUMPY.flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    )
)
KEYS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.sampled_from(["$", "$kind", "", "a.b", "\ud800"]),
    lambda inner: st.tuples(inner, inner),
    max_leaves=3,
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.binary().map(bytearray)
    | st.complex_numbers()
    | st.sampled_from([torch.float32, torch.bfloat16, torch.device("cpu"), torch.device("cuda:1")])
    | st.sampled_from([torch.Size([2, 3]), torch.Size([])])
    | st.frozensets(st.integers())
    | st.sets(st.text())
    | ARRAYS
    | ARRAYS.filter(lambda array: array.size).map(lambda array: array.reshape(-1)[0])
    | TENSORS
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=3)
    dicts = st.dictionaries(KEYS, inner, max_size=3)
    return (
        lists
        | lists.map(tuple)
        | st.builds(deque, lists, st.sampled_from([None, 3, 5]))
        | dicts
        | dicts.map(OrderedDict)
        | st.dictionaries(KEYS, st.integers(), max_size=3).map(Counter)
    )


def paths_are_unique(value: Any) -> bool:
    try:
        encode(value, "part", {})
    except NotEncodable:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(st.recursive(LEAVES, containers, max_leaves=12).filter(paths_are_unique))
def test_what_is_encoded_is_decoded_with_its_types(value: Any) -> None:
    """`decode(encode(x))` is `x` for everything that can be encoded, through real JSON."""
    assert same(value, there_and_back(value))


@pytest.mark.parametrize(
    "value",
    [
        {3: 1},
        Counter({3: 1, 10: 2}),
        {True: "a", 2: "b", 2.5: "c", None: "d", (1, "x"): "e", b"k": "f"},
        {"$": "tuple", "items": [1]},
        {"$": "tensor", "leaf": "model.weight"},
        (1, [2, (3,)], {"a": ()}),
        OrderedDict([("b", 1), ("a", 2)]),
        deque([1, 2, 3], maxlen=3),
        [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1.7976931348623157e308, 0.1],
        [complex(float("nan"), -0.0), complex(-0.0, float("-inf"))],
        [10**5000, -(10**5000), 2**63, -1],
        ["\ud800 half a pair", "አማርኛ", "\x00", "\u2028"],
        [
            np.float32(0.1),
            np.float64(0.1),
            np.int8(-1),
            np.bool_(True),
            np.str_("x"),
            np.bytes_(b"y"),
        ],
        [np.datetime64("2024-01-01"), np.longdouble(1) / 3, np.arange(6).reshape(2, 3).T],
        [np.zeros((0, 3), ">f4"), np.array(5, "<i2"), np.array(["a", "bcd"])],
        {"": {"weight": torch.ones(2, dtype=torch.bfloat16)}, "aliases": {}},
        {"0": torch.zeros(1), 1: torch.ones(1)},
        PurePath("a") / "b",
    ],
    ids=lambda value: type(value).__name__,
)
def test_hard_values_come_back(value: Any) -> None:
    """The values that plain JSON loses come back as they were."""
    found = there_and_back(value)
    if isinstance(value, PurePath):
        assert value == found
    else:
        assert same(value, found)


def test_order_of_a_dict_is_kept() -> None:
    """Keys come back in their order, whatever their type."""
    assert ["b", "a"] == list(there_and_back({"b": 1, "a": 2}))
    assert [3, 1] == list(there_and_back({3: 1, 1: 2}))


def test_a_set_is_written_the_same_whatever_its_hashes() -> None:
    """Two equal sets give the same bytes."""
    one, other = {"a", "b", "c", 1}, {1, "c", "b", "a"}
    assert encode(one, "p", {}) == encode(other, "p", {})


def test_tensors_are_handed_over_under_their_paths() -> None:
    """A tensor is not copied, and its name is the path of its leaf."""
    weight = torch.ones(2)
    tensors: dict[str, torch.Tensor] = {}
    encode({"": {"layer.weight": weight}, "more": [(weight * 2,)]}, "model", tensors)
    assert ["model.layer.weight", "model.more.0.0"] == list(tensors)
    assert weight.data_ptr() == tensors["model.layer.weight"].data_ptr()


Point = namedtuple("Point", "x y")  # noqa: PYI024  # the untyped kind is the subject


def hidden() -> Any:
    """Return a named tuple of a class that can't be found by its name."""

    class Hidden(NamedTuple):
        x: int

    return Hidden(1)


class OddTensor(torch.Tensor):
    """A tensor of a class of one's own."""


class Opaque:
    pass


@pytest.mark.parametrize(
    "value",
    [
        Opaque(),
        Opaque,
        len,
        lambda: 0,
        defaultdict(lambda: 3, a=1),
        hidden(),
        np.array([object()]),
        np.ma.masked_array([1, 2], mask=[True, False]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]),
        torch.ones(2).to(torch.float8_e8m0fnu),
        torch.ones(2).as_subclass(OddTensor),
        torch.ones(2, device="meta"),
        type("Text", (int,), {})(3),
        range(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_encoded_names_its_path(value: Any) -> None:
    """A value without a faithful form is refused, and the message names the leaf."""
    with pytest.raises(NotEncodable, match=r"part\.groups\.0\.odd"):
        encode({"groups": [{"odd": value}]}, "part", {})


def test_two_leaves_of_one_path_are_refused() -> None:
    """Keys that would name two tensors alike are an error, not a lost tensor."""
    with pytest.raises(NotEncodable, match=r"part\.a\.b"):
        encode({"a.b": torch.ones(1), "a": {"b": torch.ones(1)}}, "part", {})


def test_a_path_that_is_no_text_is_refused() -> None:
    """A tensor under half a surrogate pair has no name that a file can hold."""
    with pytest.raises(NotEncodable, match="no text"):
        encode({"\ud800": torch.ones(1)}, "part", {})


def test_nesting_has_a_limit_in_both_directions() -> None:
    """State as deep as the limit passes; deeper is refused, also when a crafted file says it."""
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert same(deep, there_and_back(deep))
    with pytest.raises(NotEncodable, match="nested deeper"):
        encode([deep], "part", {})
    with pytest.raises(CheckpointCorrupt):
        decode([deep], {})


@pytest.mark.parametrize(
    "data",
    [
        {"$": "unknown"},
        {"$": None},
        {"$": ["list"]},
        {"$": "tensor"},
        {"$": "tensor", "leaf": "not there"},
        {"$": "tensor", "leaf": ["x"]},
        {"$": "tuple"},
        {"$": "tuple", "items": 3},
        {"$": "dict", "items": [[1]]},
        {"$": "dict", "items": [[[1], 2]]},
        {"$": "dict", "items": [1]},
        {"$": "set", "items": [[1]]},
        {"$": "size", "items": ["a"]},
        {"$": "deque", "items": [1]},
        {"$": "deque", "items": [1], "maxlen": -1},
        {"$": "deque", "items": [1], "maxlen": 1 << 80},
        {"$": "int", "is": "zz"},
        {"$": "float", "is": []},
        {"$": "float", "is": "one"},
        {"$": "bytes", "is": "!!!"},
        {"$": "bytes"},
        {"$": "str", "is": "gICA"},
        {"$": "complex", "is": ["1"]},
        {"$": "complex", "is": 1},
        {"$": "dtype", "is": "torch.load"},
        {"$": "dtype", "is": "os"},
        {"$": "device", "is": "moon"},
        {"$": "device", "is": 3.5},
        {"$": "path", "is": 3},
        {"$": "array", "dtype": "|O", "shape": [1], "is": "AAAAAAAAAAA="},
        {"$": "array", "dtype": "<f4", "shape": [7], "is": "AAAAAA=="},
        {"$": "array", "dtype": "<f4", "shape": [1], "is": "AAAA"},
        {"$": "array", "dtype": "<f4", "shape": [-1, 0], "is": ""},
        {"$": "array", "dtype": "<f4", "shape": [1 << 70], "is": ""},
        {"$": "array", "dtype": "__import__('os')", "shape": [], "is": ""},
        {"$": "array", "dtype": {"names": ["a"]}, "shape": [], "is": ""},
        {"$": "scalar", "dtype": "<f4", "shape": [2], "is": "AAAAAAAAAAA="},
        {"$": "counter", "items": {"a": 1}},
    ],
    ids=lambda value: type(value).__name__,
)
def test_hostile_json_is_refused(data: Any) -> None:
    """JSON that the codec did not write is damage, never a crash and never a value."""
    with pytest.raises(CheckpointCorrupt):
        decode({"inner": [data]}, {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$", "is", "items", "leaf", "dtype", "shape", "maxlen", "x"]),
            inner
            | st.sampled_from(
                [
                    "tensor",
                    "dict",
                    "tuple",
                    "set",
                    "counter",
                    "array",
                    "scalar",
                    "size",
                    "deque",
                    "int",
                ]
            ),
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_is_decoded_or_refused(data: Any) -> None:
    """Whatever JSON is found, decoding ends with a value or with CheckpointCorrupt."""
    refused: Exception | None = None
    try:
        decode(data, {})
    except Exception as error:  # noqa: BLE001  # which one is what is tested
        refused = error
    assert refused is None or isinstance(refused, CheckpointCorrupt)


def test_paths_are_written_as_text_of_the_system() -> None:
    """A path comes back as a path of this system; one that can open files can so again."""
    assert PurePath("a/b") == there_and_back(PurePath("a/b"))
    assert isinstance(there_and_back(Path("a/b")), Path)
