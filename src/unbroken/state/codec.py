"""The typed codec: Python state to tagged JSON and tensors, and back, with its types.

`decode(encode(x)) == x` including types: tuples stay tuples, integer keys stay integers, NaN stays
NaN. Plain JSON keeps none of these (a `MultiStepLR` whose `{3: 1}` came back as `{"3": 1}` never
decays again). What can't be encoded is an error that names the leaf, never a silent `str(x)`.

An object is tagged as `{"$": kind, ...}`; a plain JSON object is a dict with string keys, none of
which begins with `$`.
"""

from __future__ import annotations

import base64
import math
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from unbroken.errors import CheckpointCorrupt, NotEncodable
from unbroken.state.digest import host_bytes
from unbroken.state.dtypes import dtype_name
from unbroken.state.known_kinds import known_from, known_kind
from unbroken.state.stored import Stored, in_memory
from unbroken.state.tensor_forms import is_plain, taken_apart, tensor_from
from unbroken.tree import join

MAX_DEPTH = 200
"""Deepest nesting that is written or read: state is far shallower, a crafted file is not."""

LARGE = 1 << 14
"""Bytes from which on an array goes to the tensors; what is smaller is written in the JSON."""

MAX_PLAIN_INT = 1 << 4096
"""Larger whole numbers are written in hexadecimal: Python refuses to read very long decimal ones."""

NUMPY_DTYPE = re.compile(r"[<>|][biufcmMSUV]\d+(\[\w+\])?")
"""The dtypes of numpy that are read: plain numbers, times, texts and bytes."""

Json = Any


def encode(value: Any, path: str, tensors: dict[str, Any]) -> Json:
    """Turn `value` into tagged JSON; its tensors are added to `tensors` under their paths.

    Args:
        value: Nested state: None, bool, int, float, str, bytes, complex, tensors, numpy arrays and
            scalars, random generators, members of enums, and dicts, lists, tuples, sets, Counters,
            deques, named tuples, data classes and default dicts of these.
        path: The leaf path of `value`, used in messages and as the tensors' names.
        tensors: Receives every tensor, in memory or stored, and the bytes of every numpy array and
            bytes object of at least `LARGE` bytes as (bytes,) uint8.

    Raises:
        NotEncodable: The value, or one inside it, has no faithful form.
    """
    return _encode(value, path, tensors, 0)


def _encode(value: Any, path: str, tensors: dict[str, Any], depth: int) -> Json:
    if depth > MAX_DEPTH:
        raise _not_encodable(path, f"is nested deeper than {MAX_DEPTH} levels")
    if value is None or type(value) is bool:
        return value
    if type(value) in _PLAIN:
        return _PLAIN[type(value)](value)
    if isinstance(value, torch.Tensor):
        return _encode_tensor(value, path, tensors, depth)
    if isinstance(value, Stored):
        tensors[path] = value
        return {"$": "tensor", "leaf": path}

    def inner(key: object, each: Any) -> Json:
        return _encode(each, join(path, key), tensors, depth + 1)

    encoder = _ENCODERS.get(type(value))
    if encoder is not None:
        return encoder(value, inner)
    if (known := known_kind(value)) is not None:
        return {"$": "known", **{key: inner(key, each) for key, each in known.items()}}
    return _encode_scalar(value, path, tensors)


def _encode_str(value: str) -> Json:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as in the name of an undecodable file
        raw = value.encode("utf-8", "surrogatepass")
        return {"$": "str", "is": base64.b64encode(raw).decode("ascii")}
    return value


_PLAIN: dict[type, Callable[[Any], Json]] = {
    int: lambda value: value if abs(value) < MAX_PLAIN_INT else {"$": "int", "is": hex(value)},
    float: lambda value: value if math.isfinite(value) else {"$": "float", "is": repr(value)},
    str: _encode_str,
}


def _encode_tensor(value: torch.Tensor, path: str, tensors: dict[str, Any], depth: int) -> Json:
    if type(value.data) is not torch.Tensor:
        raise _not_encodable(path, f"is a {type(value).__name__}")
    if value.is_meta:
        raise _not_encodable(path, "is on the meta device and has no bytes")
    if not is_plain(value):
        pieces = taken_apart(value)
        if pieces is None:
            raise _not_encodable(
                path, f"is a tensor of dtype {value.dtype} and layout {value.layout}"
            )
        return {
            "$": "composed",
            **{
                key: _encode(each, join(path, key), tensors, depth + 1)
                for key, each in pieces.items()
            },
        }
    if path in tensors:
        raise _not_encodable(path, "has the same path as another leaf")
    if _encode_str(path) != path:
        raise _not_encodable(path, "can't be the name of a leaf: it is no text")
    dtype_name(value, path)
    tensors[path] = value.detach()
    return {"$": "tensor", "leaf": path}


Inner = Callable[[object, Any], Json]


def _items(value: Mapping[Any, Any], inner: Inner) -> list[list[Json]]:
    return [[inner(f"{key}.key", key), inner(key, each)] for key, each in value.items()]


def _encode_dict(value: dict[Any, Any], inner: Inner) -> Json:
    if all(_is_plain_key(key) for key in value):
        return {key: inner(key, each) for key, each in value.items()}
    return {"$": "dict", "items": _items(value, inner)}


def _is_plain_key(key: Any) -> bool:
    return type(key) is str and not key.startswith("$") and _encode_str(key) is key


def _elements(kind: str) -> Callable[[Any, Inner], Json]:
    return lambda value, inner: {
        "$": kind,
        "items": [inner(i, each) for i, each in enumerate(value)],
    }


def _encode_set(kind: str) -> Callable[[Any, Inner], Json]:
    # Sorted, so that the bytes of a checkpoint don't depend on the order of a hash table.
    return lambda value, inner: {
        "$": kind,
        "items": [inner(i, each) for i, each in enumerate(sorted(value, key=repr))],
    }


_ENCODERS: dict[type, Callable[[Any, Inner], Json]] = {
    dict: _encode_dict,
    list: lambda value, inner: [inner(i, each) for i, each in enumerate(value)],
    tuple: _elements("tuple"),
    torch.Size: _elements("size"),
    set: _encode_set("set"),
    frozenset: _encode_set("frozenset"),
    deque: lambda value, inner: {**_elements("deque")(value, inner), "maxlen": value.maxlen},
    OrderedDict: lambda value, inner: {"$": "ordered", "items": _items(value, inner)},
    Counter: lambda value, inner: {"$": "counter", "items": _items(value, inner)},
}


def _encode_scalar(value: Any, path: str, tensors: dict[str, Any]) -> Json:
    if type(value) in (bytes, bytearray):
        kind = "bytes" if type(value) is bytes else "bytearray"
        return {"$": kind, "is": _encode_bytes(value, path, tensors)}
    if type(value) is complex:
        return {"$": "complex", "is": [repr(value.real), repr(value.imag)]}
    if type(value) is np.ndarray or isinstance(value, np.generic):
        return _encode_numpy(value, path, tensors)
    if isinstance(value, torch.dtype | torch.device):
        kind = "dtype" if isinstance(value, torch.dtype) else "device"
        return {"$": kind, "is": str(value)}
    if isinstance(value, PurePath):
        return {"$": "path" if isinstance(value, Path) else "pure path", "is": str(value)}
    if isinstance(value, str):  # TorchVersion and the like: only the text matters
        return str(value)
    raise _not_encodable(path, f"is a {type(value).__module__}.{type(value).__qualname__}")


def _encode_bytes(content: Any, path: str, tensors: dict[str, Any]) -> Json:
    """Return bytes, or a contiguous array's, as base64; as a tensor that shares them where they are many."""
    flat = np.frombuffer(content, np.uint8) if len(content) else np.empty(0, np.uint8)
    if flat.nbytes < LARGE:
        return base64.b64encode(flat.tobytes()).decode("ascii")
    shared = flat if flat.flags.writeable else flat.copy()
    return _encode_tensor(torch.from_numpy(shared), path, tensors, 0)


def _encode_numpy(value: Any, path: str, tensors: dict[str, Any]) -> Json:
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.names is not None:
        raise _not_encodable(path, f"is a numpy array of dtype {array.dtype}")
    return {
        "$": "scalar" if isinstance(value, np.generic) else "array",
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "is": _encode_bytes(np.ascontiguousarray(array).reshape(-1).view(np.uint8), path, tensors),
    }


def _not_encodable(path: str, what: str) -> NotEncodable:
    return NotEncodable(
        f"{path} {what}.",
        "A checkpoint holds only values that come back exactly as they were; it never pickles.",
        "Return numbers, strings, tensors, arrays and containers of these from its state_dict().",
    )


def decode(data: Json, tensors: Mapping[str, Any]) -> Any:
    """Turn tagged JSON back into the value that `encode` was given.

    Args:
        data: Tagged JSON as `encode` returned it.
        tensors: The tensors, in memory or stored, by leaf path.

    Raises:
        CheckpointCorrupt: The JSON isn't of the codec's form, or names a tensor that isn't there.
    """
    try:
        return _decode(data, tensors, 0)
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise CheckpointCorrupt(
            f"The state of a checkpoint can't be decoded ({error!r}).",
            "A run can only continue from a state that is read exactly.",
            "Resume from another checkpoint.",
        ) from error


def _decode(data: Json, tensors: Mapping[str, Any], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(data, list):
        return [_decode(each, tensors, depth + 1) for each in data]
    if not isinstance(data, dict):
        return data
    if "$" not in data:
        return {key: _decode(each, tensors, depth + 1) for key, each in data.items()}
    kind = data["$"]
    if kind == "tensor":
        return tensors[data["leaf"]]

    def inner(each: Json) -> Any:
        return _decode(each, tensors, depth + 1)

    if kind in _MADE:
        return _MADE[kind]({key: inner(each) for key, each in data.items() if key != "$"})
    if kind in _SCALARS:
        return _SCALARS[kind](_with_bytes(data, inner) if kind in _OF_BYTES else data)
    items = [inner(each) for each in data["items"]]
    if kind == "deque":
        return deque(items, maxlen=data["maxlen"])
    return _CONTAINERS[kind](items)


def _with_bytes(data: Json, inner: Callable[[Json], Any]) -> Json:
    content = data["is"]
    if isinstance(content, dict):
        return {**data, "is": _bytes_of(in_memory(inner(content)))}
    return {**data, "is": base64.b64decode(content, validate=True)}


def _bytes_of(tensor: Any) -> bytes:
    if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.uint8:
        raise TypeError("not the bytes of an array")
    return host_bytes(tensor).tobytes()


def _numpy(data: Json) -> Any:
    if not NUMPY_DTYPE.fullmatch(data["dtype"]):
        raise ValueError("not a dtype that is written")
    dtype = np.dtype(data["dtype"])
    flat = np.frombuffer(data["is"], dtype=dtype)
    return flat.reshape(data["shape"]).copy()


def _numpy_scalar(data: Json) -> Any:
    if data["shape"] != []:
        raise ValueError("a scalar has no dimensions")
    return _numpy(data)[()]


def _dtype(data: Json) -> torch.dtype:
    found = getattr(torch, str(data["is"]).removeprefix("torch."))
    if not isinstance(found, torch.dtype):
        raise TypeError("not a dtype")
    return found


_MADE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "composed": tensor_from,
    "known": known_from,
}

_OF_BYTES = ("str", "bytes", "bytearray", "array", "scalar")
"""Kinds whose content is bytes: as base64, or as the name of a tensor where they are many."""

_SCALARS: dict[str, Callable[[Json], Any]] = {
    "int": lambda data: int(data["is"], 16),
    "float": lambda data: float(data["is"]),
    "str": lambda data: data["is"].decode("utf-8", "surrogatepass"),
    "bytes": lambda data: data["is"],
    "bytearray": lambda data: bytearray(data["is"]),
    "complex": lambda data: complex(float(data["is"][0]), float(data["is"][1])),
    "array": _numpy,
    "scalar": _numpy_scalar,
    "dtype": _dtype,
    "device": lambda data: torch.device(data["is"]),
    "path": lambda data: Path(data["is"]),
    "pure path": lambda data: PurePath(data["is"]),
}

_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "dict": lambda items: {key: each for key, each in items},  # noqa: C416  # pairs come as lists
    "ordered": lambda items: OrderedDict((key, each) for key, each in items),
    "counter": lambda items: Counter({key: each for key, each in items}),  # noqa: C416
    "tuple": tuple,
    "size": torch.Size,
    "set": set,
    "frozenset": frozenset,
}
