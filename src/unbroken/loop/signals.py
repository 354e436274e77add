"""Which signals ask for a stop."""

from __future__ import annotations

import signal
from collections.abc import Collection
from typing import Final

from unbroken.errors import SettingsInvalid

SIGNALS: Final = tuple(
    number
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP", "SIGBREAK")
    if (number := getattr(signal, name, None)) is not None
)
"""Signals that ask for a stop; which of them exist depends on the system."""

UNFIT: Final = frozenset(
    number
    for name in ("SIGKILL", "SIGSTOP", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGSYS",
                 "SIGTRAP", "SIGCHLD", "SIGPIPE")
    if (number := getattr(signal, name, None)) is not None
)  # fmt: skip
"""Signals that can't be heard, or that tell of a fault, a child or a pipe."""


def stop_signals(added: Collection[int | str]) -> tuple[signal.Signals, ...]:
    """Return the signals that ask for a stop: the usual ones, and those that were added.

    Args:
        added: Numbers such as `signal.SIGUSR2`, or names such as `"SIGUSR2"`.

    Raises:
        SettingsInvalid: One of them is no signal of this system, or can't ask for a stop.
    """
    if isinstance(added, str | int) or not isinstance(added, Collection):
        raise _invalid(added, "is no list of signals")
    return tuple(dict.fromkeys([*SIGNALS, *map(_signal, added)]))


def _signal(given: int | str) -> signal.Signals:
    try:
        found = signal.Signals[given] if isinstance(given, str) else signal.Signals(given)
    except (KeyError, ValueError, TypeError):
        raise _invalid(given, "is no signal of this system") from None
    if found in UNFIT:
        raise _invalid(found.name, "can't ask for a stop")
    return found


def _invalid(given: object, found: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"{given!r}, given in stop_signals=, {found}.",
        "The run would not hear the request, and would be killed unsaved.",
        'Give a list of signals beside the usual ones, such as stop_signals=["SIGUSR2"].',
    )
