"""What to do about a step that the device's memory has no room for: repeat it, cut in halves.

Nothing of the step is kept: gradients and sums are dropped and it begins anew with the same samples,
as a training with the smaller micro-batch would have made it. The next step begins with the size
that was planned, so that how a step is cut follows from the step and not from those before it.

A checkpoint inside of a step doesn't say how the step was cut. Where micro-batches of the planned
size can't have made what is done of it, the resumed step begins anew. Where they can, it goes on; if
it was cut smaller in truth, its samples are the same, but its losses not to the last bit.
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
"""What errors say that are no `OutOfMemoryError`: a kernel or a workspace found no room."""


class HalvedSteps:
    """Trains the micro-batches of steps, smaller ones where the memory runs out.

    Args:
        loader: Reads micro-batches of the planned size ahead.
        read: Reads one sample by its number; for the smaller micro-batches.
        collate: Pads samples to a batch.
        size: Samples of a micro-batch, as planned.
        tell: Told of a step that is repeated: its number, the size that was too large, the new one.
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
        """Go through a step's samples.

        Args:
            step: The step; nothing of it is updated yet.
            micro_batch: Goes forward and backward with a batch; told the size of the cut as well.

        Raises:
            SettingsInvalid: There is no room for a single sample.
        """
        size = min(self._size, len(step.indices))
        ahead = -(-(len(step.indices) - step.samples_done) // self._size)

        def next_one(micro: MicroBatch) -> Batch:
            nonlocal ahead
            ahead -= 1
            return self._loader.take(micro)

        batch_of = next_one
        if step.samples_done % self._size:
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
                torch.cuda.empty_cache()  # what is free in pieces may be enough in one
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
    """Go through a step; say whether the memory was enough. What failed is free when it returns."""
    try:
        for micro in step.micro_batches(size):
            micro_batch(batch_of(micro), size)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def is_out_of_memory(error: RuntimeError) -> bool:
    """Say whether the memory ran out: torch's own, or what the card's libraries ask for beside it."""
    return isinstance(error, torch.OutOfMemoryError) or any(each in str(error) for each in _NO_ROOM)


def _no_room(step: Step) -> SettingsInvalid:
    return SettingsInvalid(
        f"The device's memory ran out in step {step.number} with a single sample in a micro-batch.",
        "It can't be cut any smaller; the step was not completed, the last checkpoint is untouched.",
        "Add --grad-checkpointing, free the device's memory, or leave the longest samples out.",
    )
