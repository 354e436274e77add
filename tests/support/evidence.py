"""What a training leaves behind that must be the same: its state to the last bit, its journal."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from support import toy_training as toy
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.journal.journal import last_line_of_each_step


def state_of(training: toy.Training) -> dict[str, Any]:
    """Return a copy of the live state and the position."""
    captured = copy.deepcopy(training.run.state.capture())
    return {**captured, "position": training.run.position}


def uninterrupted(directory: Path, until: int) -> tuple[dict[str, Any], dict[int, Any]]:
    """Return state and journal of a training that nobody stopped, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    training = toy.build(directory, save_every=0)
    toy.train(training, until)
    training.run.close()
    torch.set_num_threads(threads)
    return state_of(training), journal_of(directory)


def state_on_disk(directory: Path, step: int) -> dict[str, Any]:
    """Return the state in a run's checkpoint after `step` steps."""
    checkpoint = Checkpoint.at(Layout(directory).checkpoints / f"step-{step:08d}")
    checkpoint.verify()
    return {**checkpoint.parts(), "position": checkpoint.position}


def journal_of(directory: Path) -> dict[int, dict[str, Any]]:
    """Return by step the line that counts, without the number of the start that wrote it."""
    lines = last_line_of_each_step(Layout(directory).journal)
    return {
        step: {key: each for key, each in line.items() if key != "start"}
        for step, line in lines.items()
    }
