"""The death of a training process at a moment that is named beforehand."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from unbroken.checkpoint import disk
from unbroken.checkpoint.snapshot import HostSnapshot
from unbroken.checkpoint.store import Store
from unbroken.run.run import Run

KILL: Final = 9
"""SIGKILL; Windows has no name for it, but ends the process at this number too."""

DISK_CALLS: Final = (
    "make_directory",
    "write_new_image",
    "write_new_file",
    "sync_directory",
    "rename",
    "remove_tree",
)
"""What changes the disk during a save."""


def kill_at(moment: str) -> None:
    """Let this process be ended by the system without warning, at a moment of its training.

    It ends as by `kill -9`: nothing is flushed, no handler runs, no `finally` either. For a process
    of its own: it can't be taken back.

    Args:
        moment: `never`, or one of

            - `step:N`: right after step N, before anything of the next one
            - `inside:N:SAMPLES`: inside step N, with the gradients of its first SAMPLES samples in
              memory only; the last step batch of an epoch may be too small for that, then the next
            - `save:N:CALL`: during the save after step N, before its CALL-th change of the disk

    Raises:
        ValueError: There is no such moment.
    """
    kind, *numbers = moment.split(":")
    arms: dict[str, tuple[int, Callable[..., None]]] = {
        "never": (0, lambda: None),
        "step": (1, _after_step),
        "inside": (2, _inside_step),
        "save": (2, _during_save),
    }
    count, arm = arms.get(kind, (-1, None))
    if arm is None or len(numbers) != count or not all(each.isdecimal() for each in numbers):
        raise ValueError(f"{moment!r} is no moment: never, step:N, inside:N:SAMPLES or save:N:CALL")
    arm(*(int(number) for number in numbers))


def _die() -> None:
    os.kill(os.getpid(), KILL)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace a function by `around(original, ...)`."""
    original = getattr(owner, name)

    def wrapped(*given: Any, **named: Any) -> Any:
        return around(original, *given, **named)

    setattr(owner, name, wrapped)


def _after_step(step: int) -> None:
    def around(end_step: Callable[..., Any], run: Run, *given: Any, **applied: Any) -> Any:
        result = end_step(run, *given, **applied)
        if run.position.step == step:
            _die()
        return result

    _wrap(Run, "end_step", around)


def _inside_step(step: int, samples: int) -> None:
    def around(seed_micro_batch: Callable[..., Any], run: Run) -> None:
        if run.position.step + 1 >= step and run.position.samples == samples:
            _die()
        seed_micro_batch(run)

    _wrap(Run, "seed_micro_batch", around)


def _during_save(step: int, call: int) -> None:
    left = 0

    def around_save(save: Callable[..., Any], store: Store, copied: HostSnapshot) -> Any:
        nonlocal left
        left = call if copied.position.step == step else 0
        place = save(store, copied)
        if left:
            _die()  # the save has fewer calls: this is its last moment
        return place

    def around_change(change: Callable[..., Any], *given: Any, **named: Any) -> Any:
        nonlocal left
        if left == 1:
            _die()
        left = max(0, left - 1)
        return change(*given, **named)

    _wrap(Store, "save", around_save)
    for name in DISK_CALLS:
        _wrap(disk, name, around_change)
