"""Whole curves of schedules, asked at widening distances: where two of them part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from unbroken.checks.check import Difference

ROUNDING: Final = 1e-12
"""Relative difference that another mathematics library may bring about; no curve of other numbers
comes so near."""


def where_curves_part(saved: Mapping[str, Any], live: Mapping[str, Any]) -> list[Difference]:
    """Return, for each schedule and group, the first distance at which its curve is another one.

    Args:
        saved: Evidence of a checkpoint; an older one holds no curves, and has nothing to compare.
        live: The same of the live run.
    """
    before, now = (each.get("curves", {}) for each in (saved, live))
    if not before or before["ahead"] != now.get("ahead"):
        return []
    found = []
    for name, groups in before["rates"].items():
        for number, (was, is_now) in enumerate(
            zip(groups, now["rates"].get(name, []), strict=False)
        ):
            at = _first_apart(was, is_now)
            if at is not None:
                where = f"{name}, group {number}, {before['ahead'][at]:,} of its steps ahead"
                text = f"{where}: {rates_at(was, is_now, at)}"
                found.append(Difference(f"{name}.{number}", was, is_now, text))
    return found


def how_far(evidence: Mapping[str, Any]) -> str:
    """Say how far ahead curves were asked; nothing where there is none."""
    curves = evidence.get("curves", {})
    counts = [len(each) for groups in curves.get("rates", {}).values() for each in groups]
    return f", the curve up to {curves['ahead'][max(counts) - 1]:,} ahead" if any(counts) else ""


def rates_at(before: list[float], now: list[float], at: int) -> str:
    """Return what two series of rates give at an index, the later one first."""
    old, new = (f"{each[at]:.6e}" if at < len(each) else "none" for each in (before, now))
    return f"{new}, was {old}"


def _first_apart(before: list[float], now: list[float]) -> int | None:
    """Return the index from which two series are not the same curve; None where they are."""
    for at, (a, b) in enumerate(zip(before, now, strict=False)):
        if not math.isclose(a, b, rel_tol=ROUNDING) and not (math.isnan(a) and math.isnan(b)):
            return at
    return min(len(before), len(now)) if len(before) != len(now) else None
