"""Draws the moments at which training B is killed from a seed, so that a demo can be repeated."""

from __future__ import annotations

from dataclasses import dataclass

from unbroken import mix64
from unbroken_tts.demo.scale import MICRO_BATCH, Scale

_FEWEST_CALLS, _MOST_CALLS = 3, 12
_WORKERS = ("none", "2", "1", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill of training B."""

    moment: str
    """In the syntax of `unbroken_tts.demo.killable_trainer`."""
    step: int
    """Steps completed at the kill: as planned, and afterwards as observed."""

    @property
    def words(self) -> str:
        """Return a description of the moment."""
        kind, *numbers = self.moment.split(":")
        if kind == "step":
            return f"in mid-epoch, after step {self.step}"
        if kind == "inside":
            return f"inside step {self.step + 1}, after its first {numbers[1]} samples"
        beyond = f", while step {self.step + 1} was trained" if self.step > int(numbers[0]) else ""
        return (
            f"during the save after step {numbers[0]}, before its disk operation {numbers[1]}"
            f"{beyond}"
        )


def kills_of(seed: int, scale: Scale, steps_per_epoch: int) -> tuple[Kill, ...]:
    """Draw the moments: between two steps, inside a step, and during a save, in this order.

    Each is in another third of the training; the first two avoid saves and ends of epochs.

    Args:
        seed: Any whole number.
        scale: The numbers of steps, saves and kills.
        steps_per_epoch: Steps in an epoch.
    """
    third = scale.steps // 3
    between = _step(seed, 0, scale, third - third // 2, third, steps_per_epoch)
    inside = _step(seed, 1, scale, third + third // 3, 2 * third, steps_per_epoch)
    saves = [
        step
        for step in range(scale.save_every, scale.steps, scale.save_every)
        if step > max(inside, 2 * third - scale.save_every)
    ]
    save = saves[mix64(seed, 2) % len(saves)] if saves else scale.save_every
    call = _FEWEST_CALLS + mix64(seed, 3) % (_MOST_CALLS - _FEWEST_CALLS + 1)
    every = (
        Kill(moment=f"inside:{inside + 1}:{MICRO_BATCH}", step=inside),
        Kill(moment=f"step:{between}", step=between),
        Kill(moment=f"save:{save}:{call}", step=save),
    )
    return tuple(sorted(every[: scale.kills], key=lambda kill: kill.step))


def workers_of(start: int) -> str:
    """Return the `--num-workers` of the nth start of B; it may change at a resume."""
    return _WORKERS[start % len(_WORKERS)]


def _step(seed: int, number: int, scale: Scale, low: int, high: int, steps_per_epoch: int) -> int:
    wanted = [
        step
        for step in range(low, high)
        if step % scale.save_every and step % steps_per_epoch and (step + 1) % steps_per_epoch
    ]
    candidates = wanted or list(range(low, high))
    return candidates[mix64(seed, number) % len(candidates)]
