"""An epoch is a list of step batches: which samples each step uses, in which order.

How a step batch is cut into micro-batches is decided by the hardware and changes nothing here.
The order derives from `(seed, epoch)` alone, so a resumed run needs only its position.

1. The samples are permuted with a key of (seed, epoch, sample).
2. They are cut into pools of 400 step batches; each pool is sorted by length, so that the samples
   of a step batch are of like length and little is padded.
3. The sorted pools are cut into step batches, and the step batches are permuted.

With a `Mix`, an epoch consists of what the mix draws; its places are permuted instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from unbroken.errors import SettingsInvalid
from unbroken.order.mix import Mix
from unbroken.order.share import WHOLE, Share
from unbroken.state.mix import permutation
from unbroken.state.position import Position

POOL_STEP_BATCHES = 400
"""Step batches in a pool: more pad less, fewer mix lengths better within a step batch.

With the length mix of speech and step batches of 64 in one piece, 100 leave 11 % padding, 400
leave 4 % (tests/unit/order/test_step_batches.py).
"""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A slice of a step batch that goes forward and backward at once."""

    position: Position
    """The position before this micro-batch."""
    indices: tuple[int, ...]
    """Sample numbers in the order's `ids`."""


class StepBatches:
    """The step batches of every epoch.

    Args:
        ids: The samples' names, unique, in the order of the data set.
        lengths: (N,) the samples' lengths, in any unit; None for an order that ignores them.
        effective_batch: Samples of a step; the last step batch of an epoch may be smaller.
        seed: The seed of the order; a `Run` that is given none takes it as its own.
        mix: Shares of groups of samples in every epoch; None takes each sample once.
        virtual_devices: Cut each full step into so many micro-batches, whatever is asked for, and add
            their gradients up in a fixed order, so that any number of processes up to it computes the
            same bits; 0 for no such thing.

    Raises:
        SettingsInvalid: No samples, repeated names, or numbers that make no sense.
    """

    def __init__(
        self,
        ids: Sequence[str],
        lengths: Sequence[int] | npt.NDArray[np.int64] | None,
        effective_batch: int,
        seed: int,
        mix: Mix | None = None,
        virtual_devices: int = 0,
    ) -> None:
        _check(ids, lengths, effective_batch)
        _check_devices(virtual_devices, effective_batch)
        self.virtual_devices = virtual_devices
        self.ids = ids
        self.lengths = None if lengths is None else np.asarray(lengths, dtype=np.int64)
        self.effective_batch = effective_batch
        self.seed = seed
        self.share = WHOLE
        """What this process trains of each step batch; the run sets it when it is resumed."""
        self.mix = mix
        self.earlier: list[list[int]] = []
        """Effective batches before this one: `[epoch, batch, size]`, in force until that batch."""
        self._epoch = -1
        self._batches: list[npt.NDArray[np.int64]] = []

    @property
    def note(self) -> str:
        """What a person should know of the order at the start: nothing."""
        return ""

    @property
    def steps_per_epoch(self) -> int:
        """Step batches in an epoch, the last, smaller one included."""
        samples = len(self.ids) if self.mix is None else self.mix.samples
        return -(-samples // self.effective_batch)

    def facts(self) -> dict[str, Any]:
        """Return what the order derives from; lengths count, since samples are sorted by them."""
        return {
            "samples": len(self.ids),
            "ids": self._ids_digest,
            "lengths": self._lengths_digest,
            "effective_batch": self.effective_batch,
            "seed": self.seed,
            **({"mix": self.mix.facts()} if self.mix else {}),
            **({"virtual_devices": self.virtual_devices} if self.virtual_devices else {}),
            **({"earlier": self.earlier} if self.earlier else {}),
        }

    @cached_property
    def _ids_digest(self) -> str:
        return sample_digest(self.ids)

    @cached_property
    def _lengths_digest(self) -> str | None:
        if self.lengths is None:
            return None
        return hashlib.blake2b(self.lengths.astype("<i8").tobytes(), digest_size=16).hexdigest()

    def go_on_as(self, saved: Mapping[str, Any], position: Position) -> None:
        """Take over what a saved order went through, and a change of the effective batch with it.

        A step that was begun is finished as it was; the samples of the epoch that are left then make
        step batches of the new size. None is repeated and none left out.

        Args:
            saved: The `facts()` of the order that was saved.
            position: Where it stood.
        """
        self.earlier = [list(each) for each in saved.get("earlier", [])]
        size = saved.get("effective_batch", self.effective_batch)
        if size != self.effective_batch:
            self.earlier.append([position.epoch, position.batch + (position.samples > 0), size])
        self._epoch = -1

    def epoch(self, number: int) -> list[npt.NDArray[np.int64]]:
        """Return the step batches of epoch `number` (from 0) as arrays of sample numbers."""
        if number != self._epoch:
            self._batches = self._derive(number)
            self._epoch = number
        return self._batches

    def _derive(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        # Places of the epoch, not samples: with a mix a sample may have several.
        drawn = self._drawn(epoch)
        rest = permutation(len(drawn), self.seed, epoch, 0)
        done: list[npt.NDArray[np.int64]] = []
        for changed, until, size in self.earlier:
            if changed == epoch:
                done += self._cut(rest, drawn, size, epoch)[: until - len(done)]
                rest = rest[~np.isin(rest, np.concatenate([rest[:0], *done]))]
        places = done + self._cut(rest, drawn, self._size_in(epoch), epoch)
        return [drawn[each] for each in places]

    def _drawn(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the sample at each place of an epoch."""
        if self.mix is None:
            return np.arange(len(self.ids), dtype=np.int64)
        return self.mix.drawn(self.seed, epoch)

    def _size_in(self, epoch: int) -> int:
        """Return the effective batch at the end of an epoch."""
        later = [size for changed, _, size in self.earlier if changed > epoch]
        return later[0] if later else self.effective_batch

    def _cut(
        self,
        order: npt.NDArray[np.int64],
        drawn: npt.NDArray[np.int64],
        size: int,
        epoch: int,
    ) -> list[npt.NDArray[np.int64]]:
        """Cut places into step batches: of like length where lengths are known."""
        if self.lengths is not None and len(order):
            pool = POOL_STEP_BATCHES * size
            pools = [order[start : start + pool] for start in range(0, len(order), pool)]
            order = np.concatenate(
                [each[np.argsort(self.lengths[drawn[each]], kind="stable")] for each in pools]
            )
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        if self.lengths is None:
            return batches
        return [batches[i] for i in permutation(len(batches), self.seed, epoch, 1)]

    def at(self, position: Position) -> npt.NDArray[np.int64]:
        """Return the step batch that a run at `position` is in or about to begin."""
        return self.epoch(position.epoch)[position.batch]

    def names_at(self, position: Position) -> list[str]:
        """Return the names of the samples of that step batch, in order."""
        return [self.ids[i] for i in self.at(position)]

    def steps_in(self, epoch: int) -> float:
        """Return how many step batches an epoch has."""
        return len(self.epoch(epoch)) if self.earlier else self.steps_per_epoch

    def after(self, position: Position) -> Position:
        """Return the position when the current step batch is completed; updates stay as they are."""
        is_last = position.batch + 1 == self.steps_in(position.epoch)
        epoch = position.epoch + is_last
        batch = 0 if is_last else position.batch + 1
        return replace(position, epoch=epoch, batch=batch, samples=0, step=position.step + 1)

    def cut(self, size: int) -> int:
        """Return the samples of a micro-batch, where at most `size` were asked for."""
        if self.virtual_devices:
            return -(-self.effective_batch // self.virtual_devices)
        return self.share.cut(size, self.effective_batch)

    def micro_batches(self, position: Position, size: int) -> Iterator[MicroBatch]:
        """Yield the micro-batches from `position` on, without end, at most `size` samples each.

        Where several processes train a run, those of this one's share.
        """
        return self._micro_batches(position, size, self.share)

    def _micro_batches(self, position: Position, size: int, share: Share) -> Iterator[MicroBatch]:
        while True:
            batch = self.at(position)
            cut = self.cut(size)
            begin, end = share.of(position.samples, len(batch), cut)
            for start in range(begin, end, cut):
                here = replace(position, samples=start)
                indices = batch[start : min(start + cut, end)]
                yield MicroBatch(here, tuple(int(i) for i in indices))
            position = self.after(position)

    def next_ids(self, position: Position, count: int) -> list[str]:
        """Return the names of the next `count` samples from `position` on."""
        found: list[str] = []
        for micro in self._micro_batches(position, self.effective_batch, WHOLE):
            found.extend(self.ids[i] for i in micro.indices)
            if len(found) >= count:
                break
        return found[:count]


def sample_digest(ids: Iterable[str]) -> str:
    """Return the BLAKE2b-128, in hex, of a step's sample names joined by newlines.

    It is the same however the step batch was cut, so it can be compared between machines.
    """
    joined = "\n".join(ids).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=16).hexdigest()


def _check_devices(virtual_devices: object, effective_batch: int) -> None:
    if type(virtual_devices) is int and 0 <= virtual_devices <= effective_batch:
        return
    raise SettingsInvalid(
        f"StepBatches(virtual_devices=) is {virtual_devices!r}, and a step has {effective_batch} samples.",
        "Each virtual device has a micro-batch of every full step.",
        "Give a whole number from 1 to the effective batch, or 0 for none.",
    )


def _check(ids: Sequence[str], lengths: object, effective_batch: int) -> None:
    if len(ids) == 0:
        raise SettingsInvalid(
            "The data set has no samples.",
            "There is nothing to train on.",
            "Give at least one sample.",
        )
    if len(set(ids)) != len(ids):
        raise SettingsInvalid(
            f"{len(ids) - len(set(ids))} sample names occur more than once.",
            "The journal and the replay identify samples by their names.",
            "Give every sample a name of its own.",
        )
    if isinstance(lengths, Sequence | np.ndarray) and len(lengths) != len(ids):
        raise SettingsInvalid(
            f"There are {len(ids)} samples but {len(lengths)} lengths.",
            "Samples of similar length are put into one step.",
            "Give one length for each sample.",
        )
    if effective_batch < 1:
        raise SettingsInvalid(
            f"The effective batch is {effective_batch}.",
            "A step needs at least one sample.",
            "Choose an effective batch of 1 or more.",
        )
