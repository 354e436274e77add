"""Run the trainer in this process and kill it, without warning, at a chosen event.

Usage: killed_trainer.py EVENT -- FLAGS…, where EVENT is one of

- `micro:STEP:SAMPLES`  before the micro-batch at this position
- `update:STEP`         between the last backward pass of a step and its update
- `journal:STEP`        after the step's line was written
- `validation:BATCH`    before the so-many-th validation batch of this process (from 1)
- `disk:CALL`           before the so-many-th call that changes the disk during saves (from 1)
- `stop:SIGNAL:STEP:SAMPLES`  not killed but sent a signal, at this position
- `group:SIGNAL:STEP:SAMPLES`  the same for the whole process group, as a terminal or a batch system
  sends it
- `none`
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch


def die() -> None:
    """End this process as a power cut would end it."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(event: str) -> None:
    """Prepare the death."""
    kind, *rest = event.split(":")
    if kind == "none":
        return
    _ARMS[kind](*rest)


def _wrap(owner: Any, name: str, before: Callable[..., None]) -> None:
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        before(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _micro(step: str, samples: str) -> None:
    from unbroken.run.run import Run

    def before(run: Run) -> None:
        if (run.position.step, run.position.samples) == (int(step), int(samples)):
            die()

    _wrap(Run, "seed_micro_batch", before)


def _stop(name: str, step: str, samples: str) -> None:
    from unbroken.run.run import Run

    def before(run: Run) -> None:
        if (run.position.step, run.position.samples) == (int(step), int(samples)):
            os.kill(os.getpid(), getattr(signal, name))

    _wrap(Run, "seed_micro_batch", before)


def _group(name: str, step: str, samples: str) -> None:
    from unbroken.run.run import Run

    def before(run: Run) -> None:
        if (run.position.step, run.position.samples) == (int(step), int(samples)):
            os.killpg(os.getpgid(0), getattr(signal, name))

    _wrap(Run, "seed_micro_batch", before)


def _update(step: str) -> None:
    from unbroken.run.step import Step

    _wrap(Step, "update", lambda self, *_a, **_k: die() if self.number == int(step) else None)


def _journal(step: str) -> None:
    from unbroken.run.run import Run

    original = Run.end_step

    def end_step(run: Run, *args: Any, **applied: Any) -> Any:
        result = original(run, *args, **applied)
        if run.position.step == int(step):
            die()
        return result

    patch.object(Run, "end_step", end_step).start()


def _validation(batch: str) -> None:
    from unbroken_tts.train import loader, validation

    seen = 0
    original = loader.validation_batches

    def batches(*args: Any) -> Any:
        nonlocal seen
        for each in original(*args):
            seen += 1
            if seen == int(batch):
                die()
            yield each

    patch.object(validation, "validation_batches", batches).start()


def _disk(call: str) -> None:
    from unbroken.checkpoint import disk

    seen = 0

    def before(path: Any, *_args: Any, **_kwargs: Any) -> None:
        nonlocal seen
        if "checkpoints" in path.parts or path.name == "latest":
            seen += 1
            if seen == int(call):
                die()

    for name in ("make_directory", "write_new_file", "write_new_image", "sync_directory", "rename",
                 "replace_file", "remove_tree"):  # fmt: skip
        _wrap(disk, name, before)


_ARMS: dict[str, Callable[..., None]] = {
    "micro": _micro,
    "stop": _stop,
    "group": _group,
    "update": _update,
    "journal": _journal,
    "validation": _validation,
    "disk": _disk,
}


def main() -> int:
    """Arm the event and train."""
    event, separator, *flags = sys.argv[1:]
    assert separator == "--"
    arm(event)
    from unbroken_tts.cli.main import main as program

    return program(["train", *flags])


if __name__ == "__main__":
    sys.exit(main())
