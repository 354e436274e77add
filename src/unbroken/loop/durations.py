"""Lengths of time as people write them: `1h50m`, `90m`, `45s`, or a number of seconds."""

from __future__ import annotations

import math
import re
from typing import Final

from unbroken.errors import SettingsInvalid

_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_FORM: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds_of(value: str | float) -> float:
    """Return a length of time in seconds.

    Raises:
        SettingsInvalid: It is none, or not above 0.
    """
    seconds = math.nan
    if isinstance(value, str):
        found = _FORM.fullmatch(value.replace(" ", ""))
        if found is not None and any(found.groups()):
            pairs = zip(_UNITS.values(), found.groups(), strict=True)
            seconds = sum(unit * int(number) for unit, number in pairs if number)
    elif type(value) in (int, float):
        seconds = float(value)
    if not 0 < seconds < math.inf:
        raise SettingsInvalid(
            f"{value!r} is no length of time.",
            "It is not known when the run has to stop.",
            'Give it as "1h50m", "90m" or "45s", or as a number of seconds above 0.',
        )
    return seconds
