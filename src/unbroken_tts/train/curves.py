"""Curves and sounds in TensorBoard, continuing cleanly over a resume.

A disk that refuses costs the curves, not the training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from unbroken_tts.train.console import Console


class Curves:
    """Writes the event files of one start.

    Args:
        console: Is told when nothing can be written any more.
        directory: Holds the event files of all starts of the run.
        step: Steps completed so far; older points of a given-up future are hidden after it.
    """

    def __init__(self, console: Console, directory: Path, step: int) -> None:
        self._console = console
        self._directory = directory
        self._writer: SummaryWriter | None = None
        self._attempt(lambda: self._open(step))

    def _open(self, step: int) -> None:
        self._writer = SummaryWriter(str(self._directory), purge_step=step + 1)

    def _attempt(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            self._writer = None
            self._console.line(f"NOTE: no more curves in {self._directory}: {error}")

    def draw(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each named curve and bring all to the file."""
        writer = self._writer
        if writer is None:
            return

        def write() -> None:
            for tag, each in values.items():
                writer.add_scalar(tag, each, step)
            writer.flush()

        self._attempt(write)

    def play(self, tag: str, wave: torch.Tensor, step: int, rate: int) -> None:
        """Keep a sound: (S,) float32 in [-1, 1] at `rate` samples per second."""
        writer = self._writer
        if writer is not None:
            self._attempt(
                lambda: writer.add_audio(tag, wave.reshape(1, -1), step, sample_rate=rate)
            )

    def close(self) -> None:
        """Write what is still in memory."""
        writer = self._writer
        if writer is not None:
            self._attempt(writer.close)
