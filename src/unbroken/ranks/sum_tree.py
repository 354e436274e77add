"""Sums over a fixed binary tree: the same bits, whoever adds up which part of it.

A step is cut into leaves, each with the gradients of its micro-batch. Leaf `i` is added to leaf `i + 1`
where `i` is even, pairs to pairs, and so on; what has no partner goes up as it is. So the order of every
addition follows from the number of the leaf alone. A process that goes through neighbouring leaves keeps
at most two sums for each level of the tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

Values = tuple[torch.Tensor | None, ...]
"""What is added up, in the same order everywhere; None where a leaf has nothing."""


@dataclass(frozen=True, slots=True)
class Node:
    """The sum of the leaves from `index * 2**level` on, `2**level` of them as far as there are some."""

    level: int
    index: int
    values: Values

    def is_left_of(self, other: Node) -> bool:
        """Say whether the two are added up next."""
        is_pair = self.index % 2 == 0 and self.index + 1 == other.index
        return self.level == other.level and is_pair

    def with_right(self, right: Node) -> Node:
        """Return the sum of two nodes; this one's tensors are used up."""
        pairs = zip(self.values, right.values, strict=True)
        return Node(self.level + 1, self.index // 2, tuple(_sum(a, b) for a, b in pairs))


@dataclass(slots=True)
class SumTree:
    """Nodes of neighbouring leaves, added up as far as they can be without the leaves of others."""

    nodes: list[Node] = field(default_factory=list)

    def add_leaf(self, index: int, values: Values) -> None:
        """Add the next leaf.

        Args:
            index: Its number in the step.
            values: Tensors that nothing else changes.
        """
        self.add(Node(0, index, values))

    def add(self, node: Node) -> None:
        """Add the next node in the order of the leaves."""
        while self.nodes and self.nodes[-1].is_left_of(node):
            node = self.nodes.pop().with_right(node)
        self.nodes.append(node)

    def total(self) -> Values:
        """Return the sum of all leaves from number 0 on; those past the last one are not there.

        Raises:
            ValueError: There is none, or leaves before them are missing.
        """
        if not self.nodes or self.nodes[0].index != 0:
            raise ValueError("a tree has its leaves from the first on")
        found = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            while found.level < left.level:  # goes up alone
                found = Node(found.level + 1, found.index // 2, found.values)
            found = left.with_right(found)
        return found.values


def _sum(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a.add_(b)
