"""The learning-rate curve of an old run: its file has a rate, but neither warm-up nor length.

They are those of the user's settings if the curve then has the recorded rate at the recorded step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unbroken_tts.rescue.earlier_schedule import warmup_cosine_legacy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unbroken_tts.rescue.old_checkpoint import OldCheckpoint

TOLERANCE = 1e-9
"""Largest relative difference of two rates that are called equal: both are computed in float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldSchedule:
    """A warm-up and a length, and whether they give the recorded rate."""

    warmup: int
    """Updates of the warm-up, of the settings."""
    total: int
    """Updates of the whole run, of the settings."""
    recorded: float
    """Rate of the next update, as the file has it."""
    computed: float
    """The same by the settings."""
    implied: tuple[int, int] | None
    """Warm-up and length that give the recorded rate, where the settings don't; None for unknown."""

    @property
    def agrees(self) -> bool:
        """Whether the settings give the recorded rate."""
        return is_same_rate(self.recorded, self.computed)


def schedule_of(
    old: OldCheckpoint, readable: Sequence[OldCheckpoint], warmup: int, total: int
) -> OldSchedule:
    """Compare the rate in a file with the settings.

    Args:
        old: The file to go on from.
        readable: All files whose counters are known; their rates decide between curves.
        warmup: Updates of the warm-up, of the settings.
        total: Updates of the whole run, of the settings.
    """
    found = OldSchedule(
        warmup=warmup,
        total=total,
        recorded=old.rate,
        computed=rate_at(old, warmup, total),
        implied=None,
    )
    if found.agrees:
        return found
    implied = _implied(old, readable, warmup, total)
    return OldSchedule(
        warmup=warmup, total=total, recorded=old.rate, computed=found.computed, implied=implied
    )


def rate_at(old: OldCheckpoint, warmup: int, total: int) -> float:
    """Return the rate of the next update that a curve has at the file's step."""
    return old.base_rate * warmup_cosine_legacy(warmup, total)(old.last_epoch)


def is_same_rate(one: float, other: float) -> bool:
    """Say whether two rates are the same number but for rounding."""
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-18)


def _implied(
    old: OldCheckpoint, readable: Sequence[OldCheckpoint], warmup: int, total: int
) -> tuple[int, int] | None:
    """Return the one curve that goes through the recorded rates; None for none or several.

    The user's warm-up is believed first, then the user's length, then neither.
    """
    files = [each for each in readable if each.base_rate == old.base_rate and each.last_epoch]
    with_warmup = _through(old, files, [warmup])
    if len(with_warmup) == 1:
        return with_warmup[0]
    others = _through(old, files, range(old.last_epoch))
    same_total = [each for each in others if each[1] == total]
    found = same_total or others
    return found[0] if len(found) == 1 else None


def _through(
    old: OldCheckpoint, files: Sequence[OldCheckpoint], warmups: Sequence[int]
) -> list[tuple[int, int]]:
    found = []
    for warmup in warmups:
        total = _total_after(old, warmup)
        if total is not None and all(
            is_same_rate(each.rate, rate_at(each, warmup, total)) for each in [old, *files]
        ):
            found.append((warmup, total))
    return found


def _total_after(old: OldCheckpoint, warmup: int) -> int | None:
    """Return the length at which a curve with this warm-up has the recorded rate; None for none."""
    factor = old.rate / old.base_rate if old.base_rate else 1.0
    if old.last_epoch <= warmup or not 0 < factor < 1:
        return None
    share = math.acos(2 * factor - 1) / math.pi
    return warmup + round((old.last_epoch - warmup) / share)
