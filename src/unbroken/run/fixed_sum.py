"""The gradients of a step, added up in an order that no number of processes changes.

Each micro-batch is a leaf of a fixed binary tree (`unbroken.ranks.sum_tree`). A process adds up the leaves
of its share as far as the tree allows; rank 0 gets what is left of each rank, in the order of the ranks,
adds it up, and gives the total to all. Sums of losses are rounded once, from all their parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import distributed

from unbroken.errors import RunMisused
from unbroken.ranks.group import Ranks
from unbroken.ranks.sum_tree import Node, SumTree, Values
from unbroken.state.training_state import TrainingState

Shape = tuple[int, int, tuple[bool, ...]]
"""Level and index of a node, and which of its values are there."""


class FixedSum:
    """Gathers the micro-batches of a step, and adds them up over all processes.

    Args:
        ranks: The processes.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._tree = SumTree()
        self._sums: list[Mapping[str, torch.Tensor]] = []

    def take(self, state: TrainingState, index: int) -> None:
        """Take gradients and sums that a micro-batch left.

        Args:
            state: Has them; it is left without.
            index: Number of the micro-batch in its step.

        Raises:
            RunMisused: A gradient is sparse.
        """
        parameters = list(state.updated.values())
        values = tuple(None if p.grad is None else p.grad.detach() for p in parameters)
        if any(each is not None and each.layout is not torch.strided for each in values):
            raise RunMisused(
                "A parameter has a gradient that is not a plain tensor (a sparse embedding?).",
                "Virtual devices add gradients up in a fixed order, and have no way to do so for this one.",
                "Use sparse=False, or no virtual devices.",
            )
        self._tree.add_leaf(index, values)
        self._sums.append(dict(state.sums.values))
        state.drop_gradients()
        state.sums.clear()

    def add_up(self, state: TrainingState) -> None:
        """Give the state the gradients and sums of the whole step; the next one may follow.

        Raises:
            RankFailed: A rank ended, or does not answer.
        """
        parameters = list(state.updated.values())
        tree, self._tree = self._tree, SumTree()
        sums, self._sums = self._sums, []
        total = _over_ranks(self._ranks, tree, parameters)
        for parameter, value in zip(parameters, total, strict=True):
            parameter.grad = value
        told = [{name: float(each) for name, each in one.items()} for one in sums]
        parts = [one for of_rank in self._ranks.gather(told) for one in of_rank]
        for name in sorted({name for one in parts for name in one}):
            whole = math.fsum(one[name] for one in parts if name in one)
            state.sums.values[name] = torch.tensor(whole, dtype=torch.float64)


def _over_ranks(ranks: Ranks, tree: SumTree, parameters: Sequence[torch.Tensor]) -> Values:
    """Return the sum of all leaves of all processes."""
    shapes: list[Shape] = [
        (n.level, n.index, tuple(each is not None for each in n.values)) for n in tree.nodes
    ]
    every = ranks.gather(shapes)
    if ranks.count == 1:
        return tree.total()
    if ranks.rank > 0:
        for node in tree.nodes:
            for flat in _flattened(node.values):
                distributed.send(flat, dst=0)
    else:
        for source, told in enumerate(every[1:], start=1):
            for shape in told:
                tree.add(_received(shape, parameters, source))
    return _shared(ranks, tree.total() if ranks.rank == 0 else None, parameters)


def _received(shape: Shape, parameters: Sequence[torch.Tensor], source: int) -> Node:
    level, index, is_there = shape
    values = _empty(is_there, parameters)
    for flat in _flattened(values):
        distributed.recv(flat, src=source)
        _unflatten(flat, values)
    return Node(level, index, values)


def _shared(ranks: Ranks, total: Values | None, parameters: Sequence[torch.Tensor]) -> Values:
    """Return on every rank what rank 0 has added up."""
    is_there = ranks.from_leader(None if total is None else tuple(e is not None for e in total))
    values = _empty(is_there, parameters) if total is None else total
    for flat in _flattened(values):
        distributed.broadcast(flat, src=0)
        _unflatten(flat, values)
    return values


def _empty(is_there: Sequence[bool], parameters: Sequence[torch.Tensor]) -> Values:
    pairs = zip(parameters, is_there, strict=True)
    return tuple(torch.zeros_like(each) if there else None for each, there in pairs)


def _of_form(values: Values) -> dict[tuple[torch.dtype, torch.device], list[torch.Tensor]]:
    """Return the values that can be sent together."""
    found: dict[tuple[torch.dtype, torch.device], list[torch.Tensor]] = {}
    for each in values:
        if each is not None:
            found.setdefault((each.dtype, each.device), []).append(each)
    return found


def _flattened(values: Values) -> Iterator[torch.Tensor]:
    """Yield the values in one piece for each dtype and device, in the order in which they come first."""
    for held in _of_form(values).values():
        yield torch.cat([each.reshape(-1) for each in held])


def _unflatten(flat: torch.Tensor, values: Values) -> None:
    """Put a piece back into the values that it was made of."""
    held = _of_form(values)[flat.dtype, flat.device]
    for each, piece in zip(held, flat.split([one.numel() for one in held]), strict=True):
        each.copy_(piece.view(each.shape))
