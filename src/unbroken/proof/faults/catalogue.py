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
)

FAULTS: Final[tuple[Fault, ...]] = tuple(each for area in AREAS for each in area.faults)
