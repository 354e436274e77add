"""Randomness derived from the position, so that it need not be saved and can't be restored wrongly.

The global generators are set at the start of each step, before each of its micro-batches, and after
the last one. Every number that a loop's body draws is so a function of the run's seed and the place
where it is drawn, and no two steps draw the same.
"""

from __future__ import annotations

from typing import Final, Protocol

from unbroken.errors import CheckpointCorrupt
from unbroken.state.mix import mix64, mix64_on
from unbroken.state.position import Position
from unbroken.state.randomness import GeneratorStates, seed_everything

SEED_SCHEME: Final = 3
"""Number of the way seeds are derived in new runs; the tests hold golden values."""
_PLACES: Final = 2
"""First number of the seeds of schemes 2 and 3."""


class RandomStreams(Protocol):
    """How the global generators of a run follow from its position."""

    scheme: int
    """Number of the way seeds are derived; kept in `run.json` for as long as the run lives."""

    def seed_at(self, position: Position) -> int:
        """Return the 64-bit seed of the micro-batch that comes next."""
        ...

    def begin_epoch(self, epoch: int) -> None:
        """Set the generators for what the body of an epoch does before its first step."""
        ...

    def begin_step(self, position: Position, *, is_set_anew: bool = False) -> None:
        """Set the generators for what a loop does before its micro-batches.

        Args:
            position: Where the run stands.
            is_set_anew: Whether a micro-batch begins before anybody can draw.
        """
        ...

    def begin_micro_batch(self, position: Position) -> None:
        """Set the generators for a micro-batch."""
        ...

    def end_micro_batches(self, position: Position) -> None:
        """Set the generators for what a loop does after its micro-batches, up to the next step."""
        ...

    def end_step(self) -> None:
        """Let go of what `begin_step` took."""
        ...


class PositionStreams:
    """Scheme 2: the seed of a stream is `mix64(2, seed, steps completed, place in the step)`.

    The place is 0 before the micro-batches, and one more than the samples done before a micro-batch
    and after the last one.
    """

    scheme = 2

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._places = mix64(_PLACES, seed)

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing: what stood before goes on."""

    def seed_at(self, position: Position) -> int:
        """Return the seed of the micro-batch that comes next, or of what follows the last one."""
        return mix64_on(self._places, position.step, 1 + position.samples)

    def begin_step(self, position: Position, *, is_set_anew: bool = False) -> None:
        """Set the generators from the step alone: a step that is resumed inside begins alike."""
        if not is_set_anew:
            seed_everything(mix64_on(self._places, position.step, 0))

    def begin_micro_batch(self, position: Position) -> None:
        """Set the generators from step and samples done."""
        seed_everything(self.seed_at(position))

    def end_micro_batches(self, position: Position) -> None:
        """Set the generators from step and all its samples."""
        seed_everything(self.seed_at(position))

    def end_step(self) -> None:
        """Do nothing: the next step sets the generators anew."""


class EpochStreams(PositionStreams):
    """Scheme 3: scheme 2, and the body of an epoch begins with `mix64(3, seed, epoch)`."""

    scheme = 3

    def begin_epoch(self, epoch: int) -> None:
        """Set the generators from the epoch: one that is resumed inside begins alike."""
        seed_everything(mix64(self.scheme, self._seed, epoch))


class MicroBatchStreams:
    """Scheme 1: only micro-batches have streams; after a step the generators are put back.

    Runs that began with it go on with it. Whatever is drawn in a step outside its micro-batches is
    the same in every step.
    """

    scheme = 1

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._outer: GeneratorStates | None = None

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing: what stood before goes on."""

    def seed_at(self, position: Position) -> int:
        """Return `mix64(1, seed, steps completed, samples done)`."""
        return mix64(self.scheme, self._seed, position.step, position.samples)

    def begin_step(self, position: Position, *, is_set_anew: bool = False) -> None:
        """Keep the generators as they are outside of steps."""
        del position, is_set_anew
        self._outer = GeneratorStates.capture()

    def begin_micro_batch(self, position: Position) -> None:
        """Set the generators from step and samples done."""
        seed_everything(self.seed_at(position))

    def end_micro_batches(self, position: Position) -> None:
        """Do nothing: the last micro-batch's stream goes on."""

    def end_step(self) -> None:
        """Set the generators to what they were before the step, once."""
        if self._outer is not None:
            self._outer.put_back()
            self._outer = None


SEED_SCHEMES: Final = {
    each.scheme: each for each in (MicroBatchStreams, PositionStreams, EpochStreams)
}
"""By number, every scheme that a run may have begun with."""


def streams_of(scheme: int, seed: int) -> RandomStreams:
    """Return the streams of a run.

    Args:
        scheme: The seed scheme it began with.
        seed: The run's, 64-bit.

    Raises:
        CheckpointCorrupt: There is no such scheme.
    """
    if scheme not in SEED_SCHEMES:
        raise CheckpointCorrupt(
            f"The run derives its randomness by seed scheme {scheme!r}.",
            f"This version knows the schemes {', '.join(map(str, SEED_SCHEMES))}.",
            "Continue it with the version that began it.",
        )
    return SEED_SCHEMES[scheme](seed)
