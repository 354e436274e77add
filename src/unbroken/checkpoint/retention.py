"""Which checkpoints may be deleted: a pure function of a list and of what shall be kept.

A policy names what it keeps; policies are joined by giving several. Whatever they say, the newest
checkpoint, the best one and the pinned ones stay, and nothing is deleted that isn't older than one
that was verified.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """What retention needs to know of one checkpoint."""

    name: str
    step: int = 0
    """Steps completed."""
    is_inside: bool = False
    """Whether it was taken inside a step."""
    created: float = 0.0
    """Seconds since 1970, UTC."""
    metric: float | None = None
    """The score to keep the best by (lower is better); None where none was measured."""
    is_pinned: bool = False


class RetentionPolicy(Protocol):
    """Names what shall be kept."""

    @property
    def why(self) -> str:
        """Why it keeps what it keeps, in a few words."""
        ...

    def keeps(self, checkpoints: Sequence[CheckpointInfo]) -> set[str]:
        """Return the names it keeps, of checkpoints listed from oldest to newest."""
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
    """Keeps those with the lowest scores; of equal ones the older."""

    count: int

    @property
    def why(self) -> str:
        """Say it in words."""
        return f"among the best {self.count}"

    def keeps(self, checkpoints: Sequence[CheckpointInfo]) -> set[str]:
        """Return the names of the `count` best; one without a number is none of them."""
        scored = [
            (each.metric, at, each.name)
            for at, each in enumerate(checkpoints)
            if each.metric is not None and not math.isnan(each.metric)
        ]
        return {name for _, _, name in sorted(scored)[: self.count]}


@dataclass(frozen=True, slots=True)
class KeepYounger:
    """Keeps those that were made not long ago."""

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
    """What is to be deleted, and why the rest is not."""

    deleted: tuple[str, ...]
    """Names, oldest first."""
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> the reasons."""


def plan(
    checkpoints: Sequence[CheckpointInfo], policies: Sequence[RetentionPolicy], verified: str | None
) -> DeletionPlan:
    """Return what is to be deleted.

    Args:
        checkpoints: All checkpoints of the run, oldest first.
        policies: What to keep; one that any of them names stays.
        verified: The newest one that is known to be whole; only older ones are deleted, and none
            where this is None.
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
    """Return the policies of a training: the last ones, and those every so many steps (0: none)."""
    return (KeepLast(max(1, keep_last)), *((KeepEvery(keep_every),) if keep_every else ()))
