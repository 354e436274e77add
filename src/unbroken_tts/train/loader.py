"""Prefetches micro-batches in the order of the run.

The loader is a plain pool of workers: it is given the micro-batches of the run from its position
on, so the number of workers changes nothing but the speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch.utils.data import DataLoader, Dataset

from unbroken import MicroBatch, Position, StepBatches, ignore_stop_signals
from unbroken_tts.data.batch import Batch
from unbroken_tts.data.samples import PairDataset, Sample, collate
from unbroken_tts.model.config import GptConfig

PREFETCHED = 4
"""Micro-batches that each worker prefetches."""


class MicroBatchLoader:
    """Returns the batches of the training, one after another.

    Args:
        dataset: The samples.
        order: The run's order.
        position: The run's position.
        until: Step count at which reading ends.
        size: Samples in a micro-batch.
        workers: Number of reading processes; 0 reads in this one.
        config: Defines the padding tokens.
        pin: Whether to page-lock the batches for a CUDA device.
    """

    def __init__(
        self,
        dataset: PairDataset,
        order: StepBatches,
        position: Position,
        until: int,
        *,
        size: int,
        workers: int,
        config: GptConfig,
        pin: bool,
    ) -> None:
        self._order = order
        self._batches: Iterator[Batch] = iter(
            DataLoader(
                dataset,
                batch_sampler=_Plan(order, position, until, size),
                num_workers=workers,
                collate_fn=batch_maker(config),
                prefetch_factor=PREFETCHED if workers else None,
                worker_init_fn=ignore_stop_signals if workers else None,
                pin_memory=pin,
                # Without its own generator the loader would draw from the global one.
                generator=torch.Generator(),
            )
        )

    def take(self, micro: MicroBatch) -> Batch:
        """Return the batch of a micro-batch.

        Raises:
            RuntimeError: It is not the next one: run and loader are out of step.
        """
        batch = next(self._batches)
        expected = [self._order.ids[i] for i in micro.indices]
        if batch.ids != expected:
            raise RuntimeError(f"the loader is out of step: {batch.ids} instead of {expected}")
        return batch

    def skip(self) -> None:
        """Drop the next batch: its samples were read elsewhere."""
        next(self._batches)

    def close(self) -> None:
        """End the worker processes now; what they read ahead is dropped."""
        end = getattr(self._batches, "_shutdown_workers", None)
        if end is not None:
            end()


class _Plan:
    """The sample indices of every micro-batch from a position on."""

    def __init__(self, order: StepBatches, position: Position, until: int, size: int) -> None:
        self.order, self.position, self.until, self.size = order, position, until, size

    def __iter__(self) -> Iterator[list[int]]:
        for micro in self.order.micro_batches(self.position, self.size):
            if micro.position.step >= self.until:
                return
            yield list(micro.indices)


def batch_maker(config: GptConfig) -> partial[Batch]:
    """Return a picklable function that pads samples to a batch."""
    return partial(
        collate, stop_text_token=config.stop_text_token, stop_mel_token=config.stop_mel_token
    )


def validation_batches(
    dataset: Dataset[Sample], indices: list[int], size: int, config: GptConfig
) -> Iterator[Batch]:
    """Yield batches of the given samples, read in this process."""
    make = batch_maker(config)
    for start in range(0, len(indices), size):
        samples: list[Sample] = [dataset[i] for i in indices[start : start + size]]
        yield make(samples)
