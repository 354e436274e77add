"""Shares of groups of samples in every epoch: a small group more often, a large one in part.

The leading group, that with the largest share, comes exactly once an epoch. Every other group gives as
many samples as its share needs, and goes on in the next epoch where it stopped: its samples come
evenly over the epochs, each pass in another order. As the order itself, the choice derives from the
seed and the number of the epoch alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from unbroken.errors import SettingsInvalid
from unbroken.state.mix import permutation

_STREAM = 2
"""After 0, the order of an epoch, and 1, that of its step batches."""


class Mix:
    """How much of each epoch comes from which group.

    Args:
        groups: (N,) the group of each sample, such as its language.
        shares: Group -> its part of the epoch's weight, all positive; they are divided by their sum.
        weights: (N,) what the shares are measured in, such as tokens, each at least 1; None counts
            samples.

    Raises:
        SettingsInvalid: Groups and shares don't name the same groups, or a number makes no sense.
    """

    def __init__(
        self,
        groups: Sequence[str],
        shares: Mapping[str, float],
        weights: Sequence[int] | npt.NDArray[np.int64] | None = None,
    ) -> None:
        _check(groups, shares, weights)
        each = np.ones(len(groups)) if weights is None else np.asarray(weights, dtype=np.float64)
        total = sum(shares.values())
        self.shares = {name: shares[name] / total for name in sorted(shares)}
        named = np.array(groups)
        self._members = {name: np.flatnonzero(named == name) for name in self.shares}
        self._weights = {name: float(each[own].sum()) for name, own in self._members.items()}
        self.leading = max(self.shares, key=lambda name: self.shares[name])
        """The group that comes exactly once an epoch."""
        epoch = self._weights[self.leading] / self.shares[self.leading]
        self.counts = {
            name: max(1, round(epoch * share * len(self._members[name]) / self._weights[name]))
            for name, share in self.shares.items()
        }
        """Group -> its samples in an epoch."""
        self._digest = hashlib.blake2b(digest_size=16)
        self._digest.update("\n".join(groups).encode("utf-8", "surrogatepass"))
        self._digest.update(each.astype("<f8").tobytes())

    @property
    def samples(self) -> int:
        """Samples of an epoch; one may come more than once."""
        return sum(self.counts.values())

    @cached_property
    def realised(self) -> dict[str, float]:
        """Group -> the part of an epoch's weight that whole samples make of its share."""
        given = {
            name: count * self._weights[name] / len(self._members[name])
            for name, count in self.counts.items()
        }
        return {name: weight / sum(given.values()) for name, weight in given.items()}

    @cached_property
    def passes(self) -> dict[str, float]:
        """Group -> how often its samples come in an epoch, on average."""
        return {name: count / len(self._members[name]) for name, count in self.counts.items()}

    def facts(self) -> dict[str, Any]:
        """Return what the choice derives from."""
        return {"shares": self.shares, "groups": self._digest.hexdigest()}

    def drawn(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Return the sample numbers of an epoch, group by group.

        Args:
            seed: The seed of the order.
            epoch: From 0.
        """
        return np.concatenate(
            [self._part(name, number, seed, epoch) for number, name in enumerate(self.counts)]
        )

    def _part(self, name: str, number: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """Return a group's samples of an epoch: a piece of its passes, one after the other."""
        own, count = self._members[name], self.counts[name]
        start = epoch * count
        passes = range(start // len(own), -(-(start + count) // len(own)))
        stream = np.concatenate(
            [permutation(len(own), seed, each, _STREAM, number) for each in passes]
        )
        begin = start - passes.start * len(own)
        part: npt.NDArray[np.int64] = own[stream[begin : begin + count]]
        return part


def _check(groups: Sequence[str], shares: Mapping[str, float], weights: Any) -> None:
    are_usable = all(math.isfinite(share) and share > 0 for share in shares.values())
    if not shares or not are_usable or not math.isfinite(sum(shares.values())):
        raise SettingsInvalid(
            f"The shares are {dict(shares)}.",
            "They say how much of every epoch comes from each group.",
            "Give every group a number above 0; leave out the samples of a group that isn't wanted.",
        )
    found = dict.fromkeys(shares, 0)
    for name in groups:
        found[name] = found.get(name, 0) + 1
    odd = [f"{name!r} ({count} samples)" for name, count in found.items() if name not in shares]
    odd += [f"{name!r} (no sample)" for name in shares if not found[name]]
    if odd:
        raise SettingsInvalid(
            f"Shares are given for {', '.join(map(repr, shares))}; they don't fit {', '.join(odd)}.",
            "Samples without a share would be left out silently, and a share without samples can't be met.",
            "Name exactly the groups that the samples have.",
        )
    if weights is not None and (len(weights) != len(groups) or min(weights) < 1):
        raise SettingsInvalid(
            f"There are {len(weights)} weights for {len(groups)} samples, or one is below 1.",
            "Shares are measured by the weights of the samples.",
            "Give each sample one weight of 1 or more, such as its tokens.",
        )
