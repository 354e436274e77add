"""A program's own texts for findings: the library speaks of arguments, a program of its flags."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from unbroken.checks.check import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Sentences that replace a check's own; an empty one keeps the check's."""

    why: str = ""
    """What would go wrong if a difference were ignored."""
    cause: str = ""
    """The most likely cause of a difference."""
    remedy: str = ""
    """What to do, as one imperative sentence."""


def advised(check: Check, advice: Advice | None) -> Check:
    """Return the check with a program's texts; the check itself if there is no advice."""
    if advice is None:
        return check
    other = copy(check)
    other.why = advice.why or check.why
    other.cause = advice.cause or check.cause
    other.remedy = advice.remedy or check.remedy
    return other
