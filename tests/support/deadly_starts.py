"""Kill starts that meet a damaged checkpoint, at each of their calls to the disk in turn.

Usage: deadly_starts.py DIRECTORY. Prints how many deaths there were. After each of them the next
start has to go on from the older checkpoint, with the damaged one in quarantine.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from support.kill_storm import DeadlyDisk
from support.recorded_run import Training
from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout


def forked(act: Callable[[], object]) -> int:
    """Run something in a process of its own; return how it ended."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  # a fork must never return
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def make(directory: Path) -> None:
    """Save a run twice, and damage the second checkpoint."""
    training = Training(directory)
    for step in (2, 4):
        training.train(step)
        training.run.save()
    training.run.close()
    file = Layout(directory).checkpoints / "step-00000004" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def start(directory: Path, deadly_after: int | None = None) -> None:
    """Start the run and say whether it stands where the older checkpoint does."""
    if deadly_after is not None:
        disk.system = DeadlyDisk(deadly_after)
    training = Training(directory)
    found = training.run.position.step
    training.run.close()
    if found != 2:
        raise RuntimeError(f"{directory} goes on from step {found}")


def main() -> int:
    """Die at every call; say how often."""
    root = Path(sys.argv[1])
    torch.set_num_threads(1)
    if forked(lambda: make(root / "whole")) != 0:
        return 1
    deaths = 0
    while True:
        directory = Path(shutil.copytree(root / "whole", root / f"death-{deaths}"))
        ended = forked(lambda: start(directory, deaths))  # noqa: B023  # called at once
        if ended == 0:
            break
        if ended != -signal.SIGKILL or forked(lambda: start(directory)) != 0:  # noqa: B023
            return 1
        damaged = [each for each in Layout(directory).quarantine.iterdir() if each.is_dir()]
        if [each.name.split(".")[0] for each in damaged] != ["step-00000004"]:
            sys.stderr.write(f"{directory}: {damaged} in quarantine\n")
            return 1
        shutil.rmtree(directory)
        deaths += 1
    sys.stdout.write(f"{deaths} deaths\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
