"""Part 4: a step that the memory has no room for is repeated with half of its micro-batch.

First it is seen how much memory each step takes when its samples are one micro-batch. Then a filler
leaves less than most of them take, and the same training is begun anew: steps that find no room are
repeated in halves, quarters and so on. It must end with the bits of a third training, which has all
the memory, no part in the halving, and cuts each step as the second one came to cut it.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from gpu_device import be_deterministic, fresh_peak, is_cuda, peak_gib
from gpu_part import Note
from gpu_training import SMALL, TINY, DeviceTraining, How
from workload import Workload

from unbroken.state.digest import tensor_digests

if TYPE_CHECKING:
    from unbroken_tts.data.batch import Batch

STEPS = 4
SIZES: dict[str, Any] = SMALL | {"layers": 8, "width": 512, "heads": 8, "batch": 32, "shrink": 1,
                                 "vocabulary": 12_000, "codes": 8_192}  # fmt: skip
LEFT = 0.9
"""What the filler leaves, as a share of what the second smallest step takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of a training."""

    peaks: list[float]
    """The most GiB in use at a time, by step."""
    losses: list[dict[str, float]]
    digests: dict[str, str]
    halved: list[tuple[int, int, int]]
    """Step, size that was too large, size then tried."""

    def cuts(self, size: int) -> dict[int, int]:
        """Return how each step was cut in the end, where `size` was asked for."""
        return dict.fromkeys(range(1, STEPS + 1), size) | {
            step: half for step, _, half in self.halved
        }


def measure(device: str, *, small: bool, note: Note) -> None:
    """Train with room for all, with too little, and cut the same without any halving.

    Raises:
        RuntimeError: There was always room, or the bits are others.
    """
    be_deterministic()
    work = Workload(**(TINY if small else SIZES))
    whole = trained(work, How(device=device))
    # A card loads kernels when they are first used: those of smaller cuts before there is no room.
    trained(
        work,
        How(device=device, cuts={step: max(1, work.batch >> step) for step in range(1, STEPS + 1)}),
    )
    room = LEFT * statistics.median_low(whole.peaks)
    note("peak GiB", whole.peaks, [
        ("memory of each step in one micro-batch", ", ".join(f"{p:.2f}" for p in whole.peaks) + " GiB"),
        ("left by the filler", f"{room:.2f} GiB"),
    ])  # fmt: skip
    if is_cuda(device):
        with filler(int(room * 2**30)):
            found = trained(work, How(device=device))
    else:
        found = trained(work, How(device=device, refuse=refuse_above(work)))
    cuts = found.cuts(work.batch)
    expected = trained(work, How(device=device, cuts=cuts))
    same = found.digests == expected.digests and found.losses == expected.losses
    steps = len({step for step, _, _ in found.halved})
    facts = {"halved": found.halved, "cuts": cuts, "peaks": found.peaks, "losses": found.losses}
    note("halved", facts | {"same": same, "as in one": found.losses == whole.losses}, [
        (f"{work.batch} samples asked for, too little memory",
         (f"{steps} of {STEPS} steps repeated, cut into {list(cuts.values())}; "
          f"{'same bits as' if same else 'NOT THE SAME as'} cut so from the start")),
        ("then in use at most", ", ".join(f"{p:.2f}" for p in found.peaks) + " GiB"),
    ])  # fmt: skip
    if not same or not steps:
        raise RuntimeError("no step was repeated, or not to the same bits")


def trained(work: Workload, how: How) -> Trained:
    """Train some steps."""
    peaks, losses = [], []
    with tempfile.TemporaryDirectory() as temporary:
        training = DeviceTraining(work, Path(temporary), how)
        training.run.resume("")
        fresh_peak(how.device)
        for result in training.steps(STEPS):
            losses.append(dict(result.losses))
            peaks.append(peak_gib(how.device))
            fresh_peak(how.device)
        digests = tensor_digests(dict(training.built.model.named_parameters()))
        training.run.close()
        halved = list(training.halved)
        del training
    gc.collect()
    if is_cuda(how.device):
        torch.cuda.empty_cache()
    return Trained(peaks=peaks, losses=losses, digests=digests, halved=halved)


class filler:  # noqa: N801  # a context manager, used like a function
    """Takes all of the card's memory but some.

    Args:
        room: Bytes to leave.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._taken: list[torch.Tensor] = []

    def __enter__(self) -> None:
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        take = free - self._room
        # In pieces, so that none is larger than what the driver gives at once.
        while take > 0:
            piece = min(take, 8 << 30)
            self._taken.append(torch.empty(piece, dtype=torch.uint8, device="cuda"))
            take -= piece

    def __exit__(self, *_: object) -> None:
        self._taken.clear()
        torch.cuda.empty_cache()


def refuse_above(work: Workload) -> Any:
    """Return what stands for a memory with room for two samples, or four short ones."""
    lengths = work.lengths()
    short = int(lengths.codes.mean()) * work.batch

    def refuse(batch: Batch) -> None:
        if len(batch.ids) > work.batch // 2 and int(batch.code_lengths.sum()) > short:
            raise torch.OutOfMemoryError("a dry run")

    return refuse
