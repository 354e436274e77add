"""Curves in TensorBoard's event files: one folder for a run, one file for each start."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbroken.checkpoint import disk
from unbroken.trackers.package import package


class TensorBoard:
    """Writes event files, at once and without a thread of TensorBoard's.

    Points of an earlier start that come again are hidden, as TensorBoard does it: by the mark with
    which each file begins.

    Args:
        directory: Contains a folder for each run, by its id.

    Raises:
        SettingsInvalid: TensorBoard is not installed.
    """

    def __init__(self, directory: Path | str = "runs") -> None:
        self._directory = Path(directory)
        self._event = package("tensorboard.compat.proto.event_pb2", "tensorboard")
        self._summary = package("tensorboard.compat.proto.summary_pb2", "tensorboard")
        self._writer = package("tensorboard.summary.writer.record_writer", "tensorboard")
        self._records: Any = None

    def begin(self, run_id: str, step: int) -> int | None:
        """Open a file that hides what earlier ones have after `step`, all of which comes again."""
        folder = self._directory / run_id
        disk.make_directory(folder)
        # TensorBoard reads the files of a directory in the order of their names.
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{seconds:010d}.{nanoseconds:09d}.{os.getpid()}"
        self._records = self._writer.RecordWriter(_EventFile(folder / name))
        session = self._event.SessionLog
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=session(status=session.START))
        return step

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        value = self._summary.Summary.Value
        points = [value(tag=name, simple_value=each) for name, each in values.items()]
        self._write(step=step, summary=self._summary.Summary(value=points))

    def close(self) -> None:
        """Close the file."""
        if self._records is not None:
            self._records.close()

    def _write(self, **content: Any) -> None:
        event = self._event.Event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())


class _EventFile:
    """A new file as TensorBoard's writer wants it; each record is written with one system call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = disk.system.create(path)

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            OSError: The disk refused.
        """
        if disk.system.write(self._descriptor, data) != len(data):
            raise OSError(f"{self._path} could not be written whole")

    def close(self) -> None:
        """Close the file."""
        disk.system.close(self._descriptor)
