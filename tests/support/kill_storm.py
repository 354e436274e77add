"""Kill a training over and over at random moments, and let it go on, until it is done.

Usage: kill_storm.py DIRECTORY KILLS SEED. Each life of the training is a child that is forked after
the imports, so a life costs little. Half of the deaths come at a random call to the disk, in the
middle of a save; the others at a random time, by a signal from outside.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from support.recorded_run import Training
from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import STATE, Layout
from unbroken.checkpoint.store import Store
from unbroken.journal.journal import last_line_of_each_step
from unbroken.run.resume import run_id_of
from unbroken.testing.disk_calls import Call, WatchedSystem

UNTIL = 12
CALLS_OF_A_LIFE = 350
T = TypeVar("T")


class DeadlyDisk(WatchedSystem):
    """Ends the process without warning before one of its calls."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.left = last

    def around(self, call: Call, perform: Callable[[], T]) -> T:
        """Count down, then die: in the background thread, while the other one trains."""
        del call
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return perform()


def live(directory: Path, *, until: int = UNTIL) -> None:
    """Train as a process of its own: resume, train, save every other step in the background."""
    training = Training(directory)
    training.run.due.every = 2
    training.model.train()
    training.train_by_steps(until)
    training.run.close()


def life(directory: Path, draw: random.Random | None, seconds: float = 0.0) -> int:
    """Fork a life, kill it if a source of chance is given, and return how it ended.

    Args:
        directory: Of the run.
        draw: Decides when it dies.
        seconds: How long a whole life takes.
    """
    deadly = DeadlyDisk(draw.randrange(CALLS_OF_A_LIFE)) if draw and draw.random() < 0.5 else None
    child = os.fork()
    if child == 0:
        try:
            if deadly is not None:
                disk.system = deadly
            live(directory)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  # a fork must never return
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
    if draw is not None and deadly is None:
        time.sleep(draw.random() * seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def evidence(directory: Path) -> tuple[Any, ...]:
    """Return what must come out equal: every tensor, all other state, every journal line."""
    layout = Layout(directory)
    checkpoint = Store(layout, run_id_of(layout) or "").newest_whole().checkpoint
    assert checkpoint is not None
    lines = last_line_of_each_step(layout.journal)
    return (
        {leaf: each.digest for leaf, each in checkpoint.manifest.leaves.items()},
        (checkpoint.path / STATE).read_bytes(),
        {step: line | {"start": 0} for step, line in lines.items()},
    )


def storm(directory: Path, most: int, draw: random.Random, seconds: float) -> int:
    """Train to the end under at most so many kills; return how many there were."""
    killed = 0
    while killed < most:
        ended = life(directory, draw, seconds)
        if ended == 0:
            return killed
        if ended != -signal.SIGKILL:
            raise RuntimeError(f"a life of {directory} ended with {ended}")
        killed += 1
    if life(directory, None) != 0:
        raise RuntimeError(f"the last life of {directory} failed")
    return killed


def main() -> int:
    """Train once undisturbed, then in storms; say how many there were, and how many kills."""
    root, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    draw = random.Random(seed)  # noqa: S311  # chance, not a secret
    began = time.monotonic()
    storm(root / "whole", 0, draw, 0.0)
    seconds = time.monotonic() - began
    expected = evidence(root / "whole")
    killed = runs = 0
    while killed < kills:
        directory = root / f"storm-{runs}"
        killed += storm(directory, kills - killed, draw, seconds)
        runs += 1
        if evidence(directory) != expected:
            sys.stderr.write(f"{directory} ended in another state\n")
            return 1
        shutil.rmtree(directory)
    sys.stdout.write(f"{killed} kills of {runs} trainings\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
