"""Changes of the environment that may change the last bits of a step, by name and kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from unbroken.state.facts import ABSENT, ENVIRONMENT, OWN_FILES, differences, told_then
from unbroken.state.software import LIBRARIES

MICRO_BATCH_SIZE = "micro_batch"
"""Name of the journal's number that tells how a step was cut: samples of its micro-batches."""
PROCESSES = "environment.processes"
"""Name of the fact that counts the processes that train; it is not there where one does."""
DEVICE = "device"
"""Name of what the steps were computed on, which a process with a card may choose."""
DEVICES = "environment.devices"
"""Name of the fact that lists the accelerators a process sees."""


class Kind(StrEnum):
    """Kinds of changes; each has its own bounds."""

    THREADS = "threads"
    """Sums are split in another way."""
    KERNELS = "kernels"
    """Other instructions for the same arithmetic: CPU, operating system, build of torch."""
    CUT = "cut"
    """The same samples in other micro-batches; dropout masks differ as well."""
    DEVICE = "device"
    """An accelerator instead of the CPU, or the reverse; dropout masks may differ as well."""
    CARD = "card"
    """Another accelerator; dropout masks may differ as well."""
    PRECISION = "precision"
    """Other number formats."""
    OTHER = "other"
    """An unknown effect."""


MASKS_MAY_DIFFER = frozenset({Kind.CUT, Kind.DEVICE, Kind.CARD, Kind.KERNELS})
"""Changes after which the same seed may give other dropout masks."""

_KINDS = {
    "environment.threads": Kind.THREADS,
    PROCESSES: Kind.CUT,
    "environment.deterministic": Kind.KERNELS,
    "environment.processor": Kind.KERNELS,
    "environment.platform": Kind.KERNELS,
    "environment.kernels": Kind.KERNELS,
    "environment.python": Kind.KERNELS,
    "environment.torch": Kind.KERNELS,
    "environment.cuda": Kind.KERNELS,
    "environment.matmul_precision": Kind.PRECISION,
    "environment.convolutions": Kind.PRECISION,
    "execution.precision": Kind.PRECISION,
}
_LIBRARIES = f"{ENVIRONMENT}.{LIBRARIES}."
_IRRELEVANT = {
    "execution.workers",
    "execution.batch",  # the journal records it for each step
    "execution.accumulation",
}


@dataclass(frozen=True, slots=True)
class EnvironmentChange:
    """One changed fact of the environment."""

    name: str
    """Dotted name of the fact, or `micro_batch`, or `device`."""
    was: Any
    now: Any

    @property
    def kind(self) -> Kind:
        """The kind of its effect on a step."""
        if self.name == MICRO_BATCH_SIZE:
            return Kind.CUT
        if self.name == DEVICE:
            return Kind.DEVICE
        if self.name == DEVICES and isinstance(self.was, list) and isinstance(self.now, list):
            return Kind.CARD if self.was and self.now else Kind.DEVICE
        if self.name.startswith(_LIBRARIES):
            return Kind.KERNELS
        return _KINDS.get(self.name, Kind.OTHER)

    def __str__(self) -> str:
        """Return the present and the former value."""
        if self.name == DEVICES:
            return f"{_devices(self.was)} -> {_devices(self.now)}"
        if self.name == DEVICE:
            return f"computed on {self.now}, was on {self.was}"
        if self.name == PROCESSES:
            was, now = (1 if each is ABSENT else each for each in (self.was, self.now))
            return f"processes are {now}, were {was}"
        if self.kind is Kind.CUT:
            return f"micro-batches of {self.now}, were {self.was}"
        return f"{self.name} is {self.now}, was {self.was}"


def arithmetic_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a run that affect the arithmetic of its steps."""
    chosen = {name: facts[name] for name in ("environment", "execution") if name in facts}
    found: dict[str, Any] = json.loads(
        json.dumps(chosen, default=str)
    )  # in the form that the history returns
    return found


def changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[EnvironmentChange, ...]:
    """Return what differs between two starts and may move the last bits of a step.

    An edit of the user's own files is none: it excuses no difference.
    """
    return tuple(
        EnvironmentChange(each.name, each.saved, each.live)
        for each in differences(was, told_then(was, now))
        if each.name not in _IRRELEVANT and not each.name.startswith(OWN_FILES)
    )


def _devices(names: Any) -> str:
    if names is ABSENT or names is None:
        return "unknown"
    return " + ".join(str(each) for each in names) if names else "processor"
