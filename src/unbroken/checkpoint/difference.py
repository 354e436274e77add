"""Compares two checkpoints: tensors by their distance, other values by equality.

Tensors whose digests are equal are not read, so both should be verified before; the others are read block by block, so that neither
checkpoint has to fit into memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.tensor_file import StoredTensor
from unbroken.state.codec import encode
from unbroken.state.facts import FactDifference, differences
from unbroken.state.stored import is_tensor
from unbroken.tree import leaves

BLOCK_ELEMENTS = 1 << 20
"""Elements of each of the two tensors in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafDifference:
    """One tensor that differs."""

    leaf: str
    what: str
    """`values`, `bits` (equal as numbers: -0.0, NaN), `shape or dtype`, `only in A`, `only in B`."""
    elements: int = 0
    """Number of elements that differ."""
    of: int = 0
    """Number of elements."""
    max_abs: float = math.nan
    """Largest absolute difference; inf if an element of one is not finite and the other differs."""
    relative: float = math.nan
    """Norm of the difference divided by the norm of A's tensor; inf if that is 0."""
    detail: str = ""

    @property
    def order(self) -> tuple[bool, float]:
        """Sort key: first what can't be compared, then by descending relative norm."""
        return not math.isnan(self.relative), -self.relative if self.relative >= 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The differences of two checkpoints."""

    leaves: tuple[LeafDifference, ...]
    """The largest first."""
    values: tuple[FactDifference, ...]
    """Other state than tensors, by path; the position is `position`."""
    facts: tuple[FactDifference, ...]
    same_leaves: int

    @property
    def is_none(self) -> bool:
        """Whether the two are equal."""
        return not (self.leaves or self.values or self.facts)


def difference(
    a: Checkpoint, b: Checkpoint, report: Callable[[int, int], None] = lambda _done, _total: None
) -> Difference:
    """Compare two checkpoints.

    Args:
        a: The first; relative norms are relative to it.
        b: The second.
        report: Called with (tensors compared, tensors in total).

    Raises:
        CheckpointCorrupt: One is damaged.
    """
    state_a, state_b = a.stored_parts(), b.stored_parts()
    tensors_a, tensors_b = _tensors(a), _tensors(b)
    known = a.leaves, b.leaves
    names = list(dict.fromkeys([*tensors_a, *tensors_b]))
    found = []
    for done, name in enumerate(names):
        report(done, len(names))
        pair = (tensors_a.get(name), tensors_b.get(name))
        digests = [each[name].digest for each in known] if all(pair) else []
        differing = _leaf(name, *pair, digests)
        if differing is not None:
            found.append(differing)
    report(len(names), len(names))
    return Difference(
        leaves=tuple(sorted(found, key=lambda each: (*each.order, each.leaf))),
        values=tuple(
            differences(
                {"position": dict(a.manifest.position), **_values(state_a)},
                {"position": dict(b.manifest.position), **_values(state_b)},
            )
        ),
        facts=tuple(differences(a.facts(), b.facts())),
        same_leaves=len(names) - len(found),
    )


def _tensors(checkpoint: Checkpoint) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for part in checkpoint.part_names():
        found |= checkpoint.tensors(part)
    return found


def _values(state: dict[str, Any]) -> dict[str, Any]:
    """Return all values except tensors, by path; encoded unless they are plain values."""
    found = {}
    for path, value in leaves(state):
        if not is_tensor(value):
            plain = isinstance(value, str | int | float | bool | None)
            found[path] = value if plain else repr(encode(value, path, {}))
    return found


def _leaf(
    name: str, a: StoredTensor | None, b: StoredTensor | None, digests: list[str]
) -> LeafDifference | None:
    if a is None or b is None:
        return LeafDifference(leaf=name, what="only in B" if a is None else "only in A")
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        detail = f"{_kind(a)} and {_kind(b)}"
        return LeafDifference(leaf=name, what="shape or dtype", detail=detail)
    if digests[0] == digests[1]:
        return None
    return _measured(name, a, b)


def _kind(tensor: StoredTensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _measured(name: str, a: StoredTensor, b: StoredTensor) -> LeafDifference:
    differing, largest = 0, 0.0
    square_of_difference, square_of_a = 0.0, 0.0
    for one, other in zip(_blocks(a), _blocks(b), strict=True):
        apart = ~((one == other) | (torch.isnan(one) & torch.isnan(other)))
        differing += int(apart.sum())
        # Infinite or NaN on one side only: the distance counts as infinite.
        distance = torch.where(apart, (one - other).abs().nan_to_num(math.inf, math.inf), 0.0)
        largest = max(largest, float(distance.max()))
        square_of_difference += float((distance**2).sum())
        square_of_a += float((one.abs().nan_to_num(0.0, 0.0) ** 2).sum())
    relative = (
        math.sqrt(square_of_difference / square_of_a)
        if square_of_a > 0
        else (math.inf if differing else 0.0)
    )
    return LeafDifference(
        leaf=name,
        what="values" if differing else "bits",
        elements=differing,
        of=math.prod(a.shape),
        max_abs=largest,
        relative=relative,
    )


def _blocks(tensor: StoredTensor) -> Iterator[torch.Tensor]:
    """Yield a tensor's elements in order as float64 or complex128."""
    wide = torch.complex128 if tensor.dtype.is_complex else torch.float64
    for start in range(0, math.prod(tensor.shape), BLOCK_ELEMENTS):
        yield tensor.read_flat(start, BLOCK_ELEMENTS).to(wide)
