"""The training whose checkpoint of each format is kept for good in tests/fixtures.

Neither this nor `toy_training` may change in what it computes: each checkpoint was made by it once,
by running this file with a directory as its argument, and is never made again. Of what the history
tells of the command, paths of the machine were taken out.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter, OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unbroken
from support import toy_training as toy

STOP = (5, 0)
"""Steps and samples after which the stop was asked for; it was saved one micro-batch on."""

UNTIL = 9


class Memory:
    """A part that holds one value of every kind that the codec writes."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    def fill(self) -> None:
        """Take the values in that were saved."""
        self.held = {
            "keys": {3: 1, "3": 2, (1, None): 3, 2.5: 4, "$": 5},
            "counter": Counter({2: 1, 5: 2}),
            "ordered": OrderedDict(b=1, a=2),
            "recent": deque([1, "ሰላም"], maxlen=4),
            "sets": [{1, 2}, frozenset({"a"})],
            "floats": (float("nan"), float("inf"), -0.0, 0.1, complex(1, -0.0)),
            "bytes": [b"\x00\xff", bytearray(b"\x01")],
            "large": 10**2000,
            "half a pair": "\ud800",
            "numpy": [np.arange(3, dtype=">i2"), np.float32(0.1), np.array(["a", "bc"])],
            "torch": [torch.float16, torch.device("cpu"), torch.Size([2, 3])],
            "tensors": [
                torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
                torch.empty(0, 3),
                torch.tensor(7, dtype=torch.uint64),
                torch.tensor([True, False]),
                torch.tensor([1 + 2j]),
            ],
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the values."""
        return {"held": self.held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take values in."""
        self.held = state["held"]


def build(directory: Path, memory: Memory) -> toy.Training:
    """Build the training and resume what stands in the directory."""
    return toy.build(directory, save_every=0, grace_seconds=0, memory=memory)


def make(directory: Path) -> None:
    """Train to the stop."""
    torch.set_num_threads(1)
    memory = Memory()
    memory.fill()
    training = build(directory, memory)

    def ask(position: unbroken.Position) -> None:
        if (position.step, position.samples) == STOP:
            training.run.stop.ask("the maker of the golden checkpoint")

    with contextlib.suppress(unbroken.Stopped):
        toy.train(training, UNTIL, ask)
    training.run.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
