"""Decides which checkpoints may be deleted, as a pure function.

A policy names the checkpoints it keeps; of several policies, each keeps its own. In any case the
newest checkpoint, the best one and the pinned ones stay, and only checkpoints older than a verified
one are deleted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """The properties of a checkpoint that matter for retention."""

    name: str
    step: int = 0
    """Steps completed."""
    is_inside: bool = False
    """Whether it was saved inside a step."""
    created: float = 0.0
    """Seconds since 1970, UTC."""
    metric: float | None = None
    """The score for keeping the best (lower is better); None if not measured."""
    is_pinned: bool = False


class RetentionPolicy(Protocol):
    """Names the checkpoints to keep."""

    @property
    def why(self) -> str:
        """The reason, in a few words."""
        ...

    def keeps(self, checkpoints: Sequence[CheckpointInfo]) -> set[str]:
        """Return the names to keep, of checkpoints from oldest to newest."""
        ...


@dataclass(frozen=True, slots=True)
class KeepLast:
    """Keeps the newest ones."""

    count: int

    @property
    def why(self) -> str:
        """Say it in words."""
        return f"among the last {self.count}"

    def keeps(self, checkpoints: Sequence[CheckpointInfo]) -> set[str]:
        """Return the names of the last `count`."""
        return {each.name for each in checkpoints[max(0, len(checkpoints) - self.count) :]}


@dataclass(frozen=True, slots=True)
class KeepEvery:
    """Keeps those at multiples of a number of steps."""

    steps: int

    @property
    def why(self) -> str:
        """Say it in words."""
        return f"at a multiple of {self.steps} steps"

    def keeps(self, checkpoints: Sequence[CheckpointInfo]) -> set[str]:
        """Return the names of those whose completed steps are a multiple."""
        return {
            each.name
            for each in checkpoints
            if self.steps > 0 and each.step % self.steps == 0 and not each.is_inside
        }


@dataclass(frozen=True, slots=True)
class KeepBest:
    """Keeps those with the lowest scores; of equal scores the older one."""

    count: int

    @property
    def why(self) -> str:
        """Say it in words."""
        return f"among the best {self.count}"

    def keeps(self, checkpoints: Sequence[CheckpointInfo]) -> set[str]:
        """Return the names of the `count` best; checkpoints without a score are never among them."""
        scored = [
            (each.metric, at, each.name)
            for at, each in enumerate(checkpoints)
            if each.metric is not None and not math.isnan(each.metric)
        ]
        return {name for _, _, name in sorted(scored)[: self.count]}


@dataclass(frozen=True, slots=True)
class KeepYounger:
    """Keeps those younger than an age."""

    seconds: float
    now: float
    """Seconds since 1970, UTC."""

    @property
    def why(self) -> str:
        """Say it in words."""
        return f"younger than {self.seconds / 3600:g} hours"

    def keeps(self, checkpoints: Sequence[CheckpointInfo]) -> set[str]:
        """Return the names of those that are younger."""
        return {each.name for each in checkpoints if self.now - each.created < self.seconds}


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """The checkpoints to delete, and the reasons to keep the others."""

    deleted: tuple[str, ...]
    """Names, oldest first."""
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> the reasons."""


def plan(
    checkpoints: Sequence[CheckpointInfo], policies: Sequence[RetentionPolicy], verified: str | None
) -> DeletionPlan:
    """Return which checkpoints to delete.

    Args:
        checkpoints: All checkpoints of the run, oldest first.
        policies: The policies; a checkpoint that any of them names stays.
        verified: The newest verified checkpoint; only older ones are deleted. If None, none is
            deleted.
    """
    names = [each.name for each in checkpoints]
    safe = names.index(verified) if verified in names else 0
    reasons: dict[str, list[str]] = {name: [] for name in names}
    for name in names[safe:]:
        reasons[name].append("nothing newer was verified")
    for each in checkpoints:
        if each.is_pinned:
            reasons[each.name].append("pinned")
    for policy in (*policies, KeepBest(1)):
        for name in policy.keeps(checkpoints):
            if policy.why not in reasons[name]:
                reasons[name].append(policy.why)
    return DeletionPlan(
        deleted=tuple(name for name in names if not reasons[name]),
        kept={name: tuple(found) for name, found in reasons.items() if found},
    )


def usual(keep_last: int, keep_every: int) -> tuple[RetentionPolicy, ...]:
    """Return the policies of a training: the last ones, and those every N steps (0: none)."""
    return (KeepLast(max(1, keep_last)), *((KeepEvery(keep_every),) if keep_every else ()))
