"""The same steps, repeated by one process more than once: what differs between them is its own noise."""

from __future__ import annotations

from unbroken.journal.line import JournalLine, relative_difference
from unbroken.replay.noise import Noise
from unbroken.state.fingerprint import MODES

MOST = 3
"""How often steps are repeated once more: noise may come out the same by chance."""


class Repetitions:
    """Remembers how the repeated steps came out in each pass over them."""

    def __init__(self) -> None:
        self._passes: list[dict[int, JournalLine]] = [{}]

    @property
    def are_left(self) -> bool:
        """Whether another pass may tell more."""
        return len(self._passes) <= MOST

    def begin(self) -> None:
        """Begin another pass."""
        self._passes.append({})

    def take(self, now: JournalLine) -> Noise | None:
        """Take in a step of this pass; return the noise where an earlier pass gave other bits."""
        self._passes[-1][now.step] = now
        known = [each[now.step] for each in self._passes[:-1] if now.step in each]
        apart = [noise_between(was, now) for was in known if was.differs_from(now)]
        return max(apart, key=lambda each: max(each.outputs, each.gradient), default=None)


def noise_between(was: JournalLine, now: JournalLine) -> Noise:
    """Return how far two tries of a step lie apart; infinitely, where more than rounding differs.

    Other samples, another rate, update or mode are no rounding.
    """
    others = was.differing_fingerprints(now)
    is_other = was.data != now.data or was.update != now.update or not was.is_scaled_as(now)
    if is_other or was.other_rates(now) or MODES in others:
        return Noise(outputs=float("inf"), gradient=float("inf"))
    sketches = [relative_difference(was.fingerprint[n], now.fingerprint[n]) for n in others]
    return Noise(
        outputs=was.loss_difference(now),
        gradient=max([relative_difference(was.gradient, now.gradient), *sketches]),
    )
