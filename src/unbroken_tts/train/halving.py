"""Repeats a step that runs out of device memory with micro-batches of half the size.

Nothing of the failed attempt is kept: gradients and sums are dropped, and the step starts over with
the same samples, exactly as a training with the smaller micro-batch would compute it. The next step
starts with the planned size, so the size depends on the step alone and not on those before it.

A checkpoint inside a step doesn't record the size of the micro-batches. If micro-batches of the
planned size can't add up to the samples done, the resumed step starts over. If they can, it
continues; where the step was in fact cut smaller, its samples are the same, but its losses may
differ in the last bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from unbroken import SettingsInvalid

if TYPE_CHECKING:
    from unbroken import MicroBatch, Step
    from unbroken_tts.data.batch import Batch
    from unbroken_tts.data.samples import Sample
    from unbroken_tts.train.loader import MicroBatchLoader


_NO_ROOM = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)
"""Texts of errors that mean the same as `OutOfMemoryError`: a kernel or workspace didn't fit."""


class HalvedSteps:
    """Trains the micro-batches of a step, with smaller ones where the memory runs out.

    Args:
        loader: Prefetches micro-batches of the planned size.
        read: Reads one sample by its index; for the smaller micro-batches.
        collate: Pads samples to a batch.
        size: Planned number of samples in a micro-batch.
        tell: Called when a step is repeated, with its number, the size that was too large, and the
            new size.
    """

    def __init__(
        self,
        loader: MicroBatchLoader,
        read: Callable[[int], Sample],
        collate: Callable[[list[Sample]], Batch],
        size: int,
        tell: Callable[[int, int, int], None],
    ) -> None:
        self._loader, self._read, self._collate = loader, read, collate
        self._size, self._tell = size, tell

    def train(self, step: Step, micro_batch: Callable[[Batch, int], None]) -> None:
        """Train on all samples of a step.

        Args:
            step: The step, before its update.
            micro_batch: Runs forward and backward on a batch; its second argument is the size of
                the step's micro-batches.

        Raises:
            SettingsInvalid: Not even a single sample fits into memory.
        """
        size = min(self._size, len(step.indices))
        ahead = step.micro_batches_left(self._size)

        def next_one(micro: MicroBatch) -> Batch:
            nonlocal ahead
            ahead -= 1
            return self._loader.take(micro)

        batch_of = next_one
        if step.samples_done % self._size and not step.is_shared:
            step.begin_again()
            batch_of = self._read_here
        while not _has_room(step, size, batch_of, micro_batch):
            if size == 1:
                raise _no_room(step)
            self._tell(step.number, size, size // 2)
            size //= 2
            step.begin_again()
            batch_of = self._read_here
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # free but fragmented memory may suffice in one piece
        for _ in range(ahead):
            self._loader.skip()

    def _read_here(self, micro: MicroBatch) -> Batch:
        return self._collate([self._read(index) for index in micro.indices])


def _has_room(
    step: Step,
    size: int,
    batch_of: Callable[[MicroBatch], Batch],
    micro_batch: Callable[[Batch, int], None],
) -> bool:
    """Return whether the step fitted into memory. A failed attempt's memory is free on return."""
    try:
        for micro in step.micro_batches(size):
            micro_batch(batch_of(micro), size)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error means that memory ran out, in torch or in one of CUDA's libraries."""
    return isinstance(error, torch.OutOfMemoryError) or any(each in str(error) for each in _NO_ROOM)


def _no_room(step: Step) -> SettingsInvalid:
    return SettingsInvalid(
        f"The device's memory ran out in step {step.number} with a single sample in a micro-batch.",
        "It can't be cut any smaller. The step was not completed; the last checkpoint is untouched.",
        "Add --grad-checkpointing, free device memory, or remove the longest samples.",
    )
