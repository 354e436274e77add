"""The order of a run whose batches come from a loader over a data set with an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from unbroken.loaders.sampled_epochs import Batch, Drawing, SampledEpochs, chain_of
from unbroken.loaders.seeded_samples import tensors_of
from unbroken.loaders.seeds import AS_GIVEN, LOADER_SCHEME
from unbroken.state.digest import combined_digest
from unbroken.state.position import Position


class SampledOrder:
    """Says which samples a step has: those of one batch of the loader, or of several.

    Args:
        loader: Of PyTorch's class or one derived from it.
        seed: The run's.
        per_step: Batches of a step; the last step of an epoch has those that are left.

    Raises:
        SettingsInvalid: The sampler raises, or gives no batch.
    """

    def __init__(self, loader: Any, seed: int, per_step: int = 1) -> None:
        self.seed = seed
        self.per_step = per_step
        self.epochs = SampledEpochs(loader, seed)
        self._loader = loader
        self._named: tuple[list[Batch], list[str]] = [], []
        self._found_at: tuple[Drawing | None, int] = None, 0
        self._found: list[Batch] = []

    @property
    def note(self) -> str:
        """What a person should know; empty for nothing."""
        if self.epochs.repeats:
            return ""
        return (
            f"the order of {type(self.epochs.sampler).__name__} can't be drawn again from seed and "
            "epoch: the list of each epoch is kept with the run"
        )

    @cached_property
    def _content(self) -> str | None:
        """Digest of the whole data set, where that is a few tensors; else what is read tells."""
        tensors = tensors_of(self._loader.dataset)
        if tensors is None:
            return None
        return combined_digest((str(i), each) for i, each in enumerate(tensors))

    def facts(self) -> dict[str, Any]:
        """Return what the order derives from."""
        loader, epochs = self._loader, self.epochs
        facts: dict[str, Any] = {
            "loader_scheme": LOADER_SCHEME,
            "seed": self.seed,
            "sampler": [type(each).__name__ for each in chain_of(epochs.sampler)],
            "drop_last": bool(getattr(epochs.sampler, "drop_last", loader.drop_last)),
        }
        if hasattr(loader.dataset, "__len__"):
            facts["samples"] = len(loader.dataset)
        if self._content is not None:
            facts["content"] = self._content
        facts["effective_batch"] = AS_GIVEN if epochs.size is None else epochs.size
        if self.per_step != 1:
            facts["batches_per_step"] = self.per_step
        return {**facts, "earlier": epochs.earlier} if epochs.earlier else facts

    def go_on_as(self, saved: Mapping[str, Any], position: Position) -> None:
        """Take over a change of the batch size; all else follows from seed and epoch."""
        per_step = saved.get("batches_per_step", 1)
        self.epochs.go_on_after(saved, position.epoch, position.batch * per_step)

    def steps_in(self, epoch: int) -> float:
        """Return how many steps an epoch has; asking begins it."""
        self.epochs.begin(epoch)
        return -(-len(self.epochs.of(epoch).all()) // self.per_step)

    def at(self, position: Position) -> Sequence[int]:
        """Return a number for each sample of the step that a run at `position` does next.

        None before the epoch has begun: the loop may still change its sampler.
        """
        return range(sum(map(len, self._batches(position))))

    def names_at(self, position: Position) -> list[str]:
        """Return what the sampler calls the samples of that step."""
        batches = self._batches(position)
        if batches is not self._named[0]:
            self._named = batches, [str(each) for batch in batches for each in batch]
        return self._named[1]

    def after(self, position: Position) -> Position:
        """Return the position when the current step is done; updates stay as they are."""
        following = (position.batch + 1) * self.per_step
        is_last = self.epochs.of(position.epoch).at(following) is None
        epoch = position.epoch + is_last
        batch = 0 if is_last else position.batch + 1
        return replace(position, epoch=epoch, batch=batch, samples=0, step=position.step + 1)

    def next_ids(self, position: Position, count: int) -> list[str]:
        """Return the names of the next `count` samples, or of those that the epoch has left.

        None before the epoch has begun.
        """
        if self.epochs.begun != position.epoch:
            return []
        found: list[str] = []
        number, drawing = position.batch * self.per_step, self.epochs.of(position.epoch)
        while len(found) < count and (batch := drawing.at(number)) is not None:
            found += map(str, batch)
            number += 1
        return found[:count]

    def _batches(self, position: Position) -> list[Batch]:
        if self.epochs.begun != position.epoch:
            return []
        first, drawing = position.batch * self.per_step, self.epochs.of(position.epoch)
        if (drawing, first) != self._found_at:  # a step is asked for several times
            found = [drawing.at(number) for number in range(first, first + self.per_step)]
            self._found = [each for each in found if each is not None]
            self._found_at = drawing, first
        return self._found
