"""Curves and audio in TensorBoard, continuous over a resume.

TensorBoard's own writer uses a thread, whose errors can't be caught and print a traceback. Here
events are written at once, and a failing disk costs the curves, not the training.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import audio, scalar, text

from unbroken_tts.train.console import Console


class Curves:
    """Writes the event file of one start.

    Args:
        console: Receives a line when the curves can't be written any more.
        directory: Contains the event files of all starts of the run.
        step: Steps completed so far; points that an earlier start wrote after it are hidden.
    """

    def __init__(self, console: Console, directory: Path, step: int) -> None:
        self._console = console
        self._directory = directory
        self._records: RecordWriter | None = None
        # TensorBoard reads the files of a directory in the order of their names.
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{seconds:010d}.{nanoseconds:09d}.{os.getpid()}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # Unbuffered: Python's buffer would repeat a failed write when the file is closed.
            self._records = RecordWriter((directory / name).open("xb", buffering=0))
        except OSError as error:
            self._give_up(error)
        start = SessionLog(status=SessionLog.START)
        self._write(
            Event(wall_time=time.time(), file_version="brain.Event:2"),
            Event(wall_time=time.time(), step=step + 1, session_log=start),
        )

    def draw(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each named curve."""
        self._write(*(_event(scalar(tag, each), step) for tag, each in values.items()))

    def play(self, tag: str, wave: torch.Tensor, step: int, rate: int) -> None:
        """Write audio: (S,) float32 in [-1, 1] at `rate` samples per second."""
        sound = audio(tag, wave.reshape(1, -1), sample_rate=rate)
        self._write(_event(sound, step))

    def write(self, tag: str, lines: Sequence[str], step: int) -> None:
        """Write lines of text, shown verbatim and not as Markdown."""
        shown = "\n".join(f"    {each}" for each in lines)
        self._write(_event(text(tag, shown), step))

    def close(self) -> None:
        """Close the file."""
        if self._records is not None:
            self._records.close()
            self._records = None

    def _write(self, *events: Event) -> None:
        try:
            for event in events:
                if self._records is not None:
                    self._records.write(event.SerializeToString())
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.close()
        self._console.line(f"NOTE: no more curves in {self._directory}: {error}")


def _event(summary: Summary, step: int) -> Event:
    return Event(wall_time=time.time(), step=step, summary=summary)
