"""All faults, in the order in which they are tried and shown; the nine original ones first."""

from __future__ import annotations

from typing import Final

from unbroken.proof.faults import (
    data,
    files,
    loop,
    optimizer,
    original,
    precision,
    randomness,
    rate,
    unread,
    unread_data,
    unread_loop,
    weights,
)
from unbroken.proof.faults.fault import Fault

AREAS: Final = (
    original.AREA,
    rate.AREA,
    optimizer.AREA,
    precision.AREA,
    weights.AREA,
    data.AREA,
    randomness.AREA,
    files.AREA,
    loop.AREA,
    unread.AREA,
    unread_loop.AREA,
    unread_data.AREA,
)

FAULTS: Final[tuple[Fault, ...]] = tuple(each for area in AREAS for each in area.faults)

KNOWN_MISSED: Final = frozenset(
    {
        "average-shares-memory",
        "average-starts-over",
        "average-twice",
        "dry-run",
        "fused-update",
        "late-validation",
        "plateau-forgotten",
        "statistics-momentum",
    }
)
"""Unread faults that nothing met in their first run: they change what no loss, gradient or update of
the repeated steps shows (averages, running statistics), less than the replay allows, or they begin
after the last repeated step."""

KNOWN_MISNAMED: Final = frozenset(
    {
        "default-dtype-double",
        "overflow-skips-an-update",
        "sampler-seed",
        "small-batch-divided-by-the-full",
        "stale-parameter-in-the-optimizer",
        "token-ignored",
    }
)
"""Unread faults that were met in their first run, but not by what their author had expected."""
