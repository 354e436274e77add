"""Opens a file of weights of any kind: a torch archive, safetensors, or the index of several files."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from unbroken import DataInvalid
from unbroken_tts.model.archive import read_archive

INDEX_SUFFIX: Final = ".index.json"
"""Hugging Face's name for the file that says which of several files holds a tensor."""

_LARGEST_INDEX = 20_000_000
_DAMAGE = (
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """What a file contains; its tensors are mapped, not read."""

    kind: str
    """For people: `PyTorch archive`, `safetensors`."""
    content: dict[str, Any]
    """Name -> tensor, or whatever else a torch archive has."""
    size: int
    """Bytes on the disk."""


def open_weights_file(path: Path) -> WeightsFile:
    """Open a file of weights; nothing in it is executed.

    Args:
        path: A torch archive, a safetensors file, or an index of either (`*.index.json`).

    Raises:
        DataInvalid: It is missing, damaged, of another kind, or contains more than tensors and plain
            values.
    """
    if path.exists() and not path.is_file():
        raise _refusal(path, "is not a regular file")  # a pipe would never end
    if path.name.endswith(INDEX_SUFFIX):
        return _open_shards(path)
    if _is_safetensors(path):
        return WeightsFile(
            kind="safetensors", content=_read_safetensors(path), size=path.stat().st_size
        )
    return WeightsFile(kind="PyTorch archive", content=read_archive(path), size=path.stat().st_size)


def _is_safetensors(path: Path) -> bool:
    """Return whether the file begins like safetensors: 8 bytes of length, then a JSON object."""
    try:
        with path.open("rb") as file:
            first = file.read(9)
    except OSError:
        return False  # the archive's reader says why
    is_whole = len(first) == 9 and first.endswith(b"{") and first[7] == 0
    return is_whole or path.suffix == ".safetensors"


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "pt") as file:
            found = {name: file.get_tensor(name) for name in sorted(file.keys())}
            metadata = file.metadata() or {}
    except OSError as error:
        raise _refusal(path, f"can't be read ({error.strerror or error})") from error
    except _DAMAGE as error:
        raise _refusal(path, f"is no intact safetensors file ({error})") from error
    if os.name == "nt":  # Windows can't replace or delete a mapped file
        found = {name: tensor.clone() for name, tensor in found.items()}
    # `safetensors.torch.save_model` writes a tensor that has several names once, and the other names
    # into the metadata.
    shared = {
        name: found[kept]
        for name, kept in sorted(metadata.items())
        if name not in found and isinstance(found.get(kept), torch.Tensor)
    }
    return found | shared


def _open_shards(path: Path) -> WeightsFile:
    places = _places(path)
    found: dict[str, Any] = {}
    size, kinds = path.stat().st_size, set()
    for shard in sorted(set(places.values())):
        opened = open_weights_file(path.parent / shard)
        wanted = {name for name, place in places.items() if place == shard}
        if missing := sorted(wanted - opened.content.keys()):
            raise _refusal(path, f"says that {missing[0]} is in {shard}, where it is not")
        if surplus := sorted(opened.content.keys() - wanted):
            raise _refusal(path, f"doesn't list {surplus[0]}, which is in {shard}")
        found |= opened.content
        size += opened.size
        kinds.add(opened.kind)
    count = len(set(places.values()))
    return WeightsFile(
        kind=f"{' and '.join(sorted(kinds))} in {count} files", content=found, size=size
    )


def _places(path: Path) -> dict[str, str]:
    """Return name -> file of an index. A name with a folder could lead anywhere, so there is none."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_LARGEST_INDEX))
        places = document["weight_map"]
        plain = {str(name): str(PurePosixPath(place).name) for name, place in places.items()}
    except OSError as error:
        raise _refusal(path, f"can't be read ({error.strerror})") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _refusal(path, "is no index of weights (it has no `weight_map`)") from error
    odd = [place for name, place in places.items() if place != plain[name] or not place]
    if odd or not plain or any(place.endswith(INDEX_SUFFIX) for place in plain.values()):
        raise _refusal(path, f"names files that can't be its parts: {[*map(str, odd[:3])]}")
    return plain


def _refusal(path: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The weights file {path} {what}.",
        "Nothing in it was used, and no code from it was run.",
        "Name an intact file of weights, or copy it again.",
    )
