"""A trainer that will be killed: `python -m unbroken_tts.demo.killable_trainer MOMENT -- FLAGS...`.

The same trainer as ever, in a process that the system ends without warning (SIGKILL; on Windows
TerminateProcess) at the moment named: nothing is flushed, no handler runs, no `finally` either.

MOMENT is one of

- `never`
- `step:N`          right after step N, before anything of the next one
- `inside:N:SAMPLES` inside step N, with the gradients of its first SAMPLES samples in memory only;
  the last step batch of an epoch may be too small for that, then the next one
- `save:N:CALL`     during the save after step N, before its CALL-th change of the disk
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from typing import Any

from unbroken.checkpoint import disk
from unbroken.checkpoint.commit import HostSnapshot
from unbroken.checkpoint.store import Store
from unbroken.run.run import Run

KILL = 9
"""SIGKILL; Windows has no name for it, but ends the process at this number too."""
DISK_CALLS = (
    "make_directory",
    "write_new_image",
    "write_new_file",
    "sync_directory",
    "rename",
    "remove_tree",
)
"""What changes the disk during a save."""


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), KILL)


def arm(moment: str) -> None:
    """Prepare the death."""
    kind, *numbers = moment.split(":")
    if kind == "never":
        return
    arms: dict[str, Callable[..., None]] = {
        "step": _after_step,
        "inside": _inside_step,
        "save": _during_save,
    }
    arms[kind](*(int(number) for number in numbers))


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
            die()
        return result

    _wrap(Run, "end_step", around)


def _inside_step(step: int, samples: int) -> None:
    def around(seed_micro_batch: Callable[..., Any], run: Run) -> None:
        if run.position.step + 1 >= step and run.position.samples == samples:
            die()
        seed_micro_batch(run)

    _wrap(Run, "seed_micro_batch", around)


def _during_save(step: int, call: int) -> None:
    left = 0

    def around_save(save: Callable[..., Any], store: Store, copied: HostSnapshot) -> Any:
        nonlocal left
        left = call if copied.position.step == step else 0
        place = save(store, copied)
        if left:
            die()  # the save has fewer calls: this is its last moment
        return place

    def around_change(change: Callable[..., Any], *given: Any) -> Any:
        nonlocal left
        if left == 1:
            die()
        left = max(0, left - 1)
        return change(*given)

    _wrap(Store, "save", around_save)
    for name in DISK_CALLS:
        _wrap(disk, name, around_change)


def main() -> None:
    """Arm the moment and become the trainer."""
    moment, separator, *flags = sys.argv[1:]
    assert separator == "--"
    arm(moment)
    sys.argv = ["unbroken-tts", "train", *flags]
    runpy.run_module("unbroken_tts.cli.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
