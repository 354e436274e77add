"""A journal line, divided into inputs and results of a step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from unbroken.state.fingerprint import NAMES as FINGERPRINT

GIVEN_UP = "given_up"
"""Name under which a line says why a step was given up."""
_INPUTS = ("epoch", "samples", "sample_digest")
CONTENT = "content"
"""Name of the digest of what a batch held, where a run hands batches out."""
GATHERS = "gathers"
"""Name under which a line says that the loop made no update in the step."""
RATES = "lrs"
"""Name of the learning rates of all groups, where there is more than one."""
SKETCH = "gradient_sketch"
"""Name of the norm of some entries of the gradients, where a loop makes its own updates."""
DIRECTION = "gradient_direction"
"""Name of the sum of the same entries, divided by that norm."""
SCALE = "grad_scale"
"""Name of what a gradient scaler scaled the loss with."""
SAMPLE_SUM = "sample_sum"
"""Name of the sum over the names of the samples, where an order names samples."""
EPOCH_ENDED = "epoch_ended"
"""Name under which the last step of an epoch tells what the order's list of it holds."""
_APPLIED = (
    "step", "start", "updates", "skipped", "lr", RATES, SCALE, "grad_norm", "micro_batch", GIVEN_UP
)  # fmt: skip
_LEDGER = (SAMPLE_SUM, EPOCH_ENDED)
_NOT_LOSSES = {*_APPLIED, *_INPUTS, *_LEDGER, *FINGERPRINT, CONTENT, GATHERS, SKETCH, DIRECTION}
OWN_NAMES = frozenset(_NOT_LOSSES - {"lr", "grad_norm"})
"""Names of a line that no loop may give to something else."""


ROUNDED = 1e-5
"""Relative difference of a direction that a factor brings about: each entry is rounded anew."""

FIRST = ""
"""Stands for the name of the first group, whose rate every line has."""


class JournalLine:
    """One step as recorded in the journal; two are compared by group of fields.

    Args:
        line: The line, as written or about to be written.
    """

    def __init__(self, line: Mapping[str, Any]) -> None:
        fields = {name: _as_number(each) for name, each in line.items()}
        self.step: int = int(line["step"])
        self.data = tuple(fields.get(name) for name in _INPUTS)
        """Epoch, number of samples, digest of their names."""
        self.content: str | None = line.get(CONTENT)
        """Digest of what its batch held; None in a journal that doesn't tell."""
        self.rates: dict[str, Any] = _rates(fields)
        """Learning rates by name of the group; the first's under an empty name. None of a loop without."""
        self.scale = fields.get(SCALE)
        """What the scaler scaled the loss with; None without one, or in a journal that doesn't tell."""
        self.losses = {name: each for name, each in fields.items() if name not in _NOT_LOSSES}
        """`loss` and whatever else the loop journalled by name."""
        self.gradient = fields.get(SKETCH, fields.get("grad_norm"))
        """Norm of all gradients before clipping, or of some of their entries."""
        self.is_clipped: bool = SKETCH in fields
        """Whether the loop may have clipped the gradients already, as far as they are told."""
        self._direction = fields.get(DIRECTION)
        self.update = (bool(line.get("skipped", False)), line.get("updates"))
        """Whether the update was left out, and how many were made."""
        self.is_given_up = GIVEN_UP in line
        """Whether the loop gave the step up: nothing of it was applied."""
        self.cut: int | None = line.get("micro_batch")
        """Samples of its micro-batches; None if the journal doesn't record it."""

        self.fingerprint: dict[str, Any] = {
            name: fields[name] for name in FINGERPRINT if name in fields
        }
        """Fingerprint of weights, buffers, averages and modes; empty if not recorded."""

    def differing_fingerprints(self, other: JournalLine) -> list[str]:
        """Return the names in the fingerprint that differ, of those in both."""
        both = [name for name in self.fingerprint if name in other.fingerprint]
        return [name for name in both if not _same(self.fingerprint[name], other.fingerprint[name])]

    def other_losses(self, other: JournalLine) -> list[str]:
        """Return the names of the losses that differ, of those in both."""
        both = [name for name in self.losses if name in other.losses]
        return [name for name in both if not _same(self.losses[name], other.losses[name])]

    @property
    def rate(self) -> Any:
        """Learning rate of the first group; None where a loop tells none."""
        return self.rates.get(FIRST)

    def other_rates(self, other: JournalLine) -> list[str]:
        """Return the names of the groups whose rates differ, of those that both tell."""
        both = [name for name in self.rates if name in other.rates]
        return [name for name in both if not _same(self.rates[name], other.rates[name])]

    def holds_as(self, other: JournalLine) -> bool:
        """Say whether the batch held the same, as far as both tell."""
        return None in (self.content, other.content) or self.content == other.content

    def is_scaled_as(self, other: JournalLine) -> bool:
        """Say whether the loss was scaled alike, as far as both tell."""
        return None in (self.scale, other.scale) or _same(self.scale, other.scale)

    def is_factor_of(self, other: JournalLine) -> bool:
        """Say whether the gradients differ by a common factor alone, as far as both tell."""
        both = (self._direction, other._direction)
        return None not in both and relative_difference(*both) <= ROUNDED

    def loss_difference(self, other: JournalLine) -> float:
        """Return the relative difference of `loss`, or of all losses if there is none.

        Other named values, such as a hit rate, change in steps, so they are not used.
        """
        names = ["loss"] if "loss" in self.losses else list(self.losses)
        return max(
            (relative_difference(self.losses[n], other.losses.get(n)) for n in names), default=0.0
        )

    def differs_from(self, other: JournalLine) -> bool:
        """Return whether any bit differs in the fields of both."""
        return bool(
            self.data != other.data
            or not self.holds_as(other)
            or self.is_given_up != other.is_given_up
            or self.other_rates(other)
            or not self.is_scaled_as(other)
            or self.other_losses(other)
            or not _same(self.gradient, other.gradient)
            or self.update != other.update
            or self.differing_fingerprints(other)
        )


def is_plainly_equal(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Say in microseconds whether nothing at all differs, as in nearly every step."""
    return all(name in now and now[name] == was[name] for name in was if name != "start") and len(
        now
    ) == len(was) - ("start" in was)


def relative_difference(was: Any, now: Any) -> float:
    """Return |now - was| / |was|; infinite if only one of them is finite."""
    if _same(was, now):
        return 0.0
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in (was, now)):
        return math.inf
    return float(abs(now - was) / abs(was)) if was else math.inf


def _rates(fields: Mapping[str, Any]) -> dict[str, Any]:
    groups = fields.get(RATES)
    found = {FIRST: fields.get("lr"), **(groups if isinstance(groups, dict) else {})}
    return {name: _as_number(each) for name, each in found.items() if each is not None}


def _same(a: Any, b: Any) -> bool:
    return bool(a == b or (a != a and b != b))  # noqa: PLR0124  # NaN equals NaN here


def _as_number(value: Any) -> Any:
    """Return a value as read back from the journal, where values that aren't finite are text."""
    if isinstance(value, str):
        return float(value) if value in ("nan", "inf", "-inf") else value
    if isinstance(value, float | int):
        return value
    return json.loads(json.dumps(value, default=str))
