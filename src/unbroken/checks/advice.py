"""What a program says of a finding in its own words: the library knows arguments, a program has flags."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from unbroken.checks.check import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Sentences that take the place of a check's own; an empty one leaves the check's."""

    why: str = ""
    """What would go wrong if a difference were ignored."""
    cause: str = ""
    """What most likely brought the difference about."""
    remedy: str = ""
    """What to do, as one imperative sentence."""


def advised(check: Check, advice: Advice | None) -> Check:
    """Return a check that says what a program wants to be said; the check itself where that is nothing."""
    if advice is None:
        return check
    other = copy(check)
    other.why = advice.why or check.why
    other.cause = advice.cause or check.cause
    other.remedy = advice.remedy or check.remedy
    return other
