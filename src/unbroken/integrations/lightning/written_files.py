"""The files that a run's checkpoint callbacks have written, and in which step.

A resume goes back a few steps. Files of these steps are there already, and a callback would give the new
ones other names (`-v1`). So it is told of such a file that it isn't there: it is replaced by the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from unbroken.checkpoint.disk import AppendFile

NAME: Final = "lightning_files.jsonl"
"""Of the file that keeps them, in the run's directory."""


class WrittenFiles:
    """Knows which files were written when.

    Args:
        directory: The run's.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._steps: dict[str, int] = {}
        self._places: dict[str, str] = {}
        self._to_come_again: set[str] = set()
        self._file: AppendFile | None = None
        for line in _lines(self._path):
            if "file" in line:
                self._steps[line["file"]] = line["step"]
            else:
                self._places[line["callback"]] = line["dirpath"]

    def place_callbacks(self, callbacks: Iterable[Any]) -> None:
        """Have callbacks without a place of their own write where they wrote before.

        Their own choice is a new directory at each start.
        """
        for each in callbacks:
            if each.dirpath is None and each.state_key in self._places:
                each.dirpath = self._places[each.state_key]

    def go_on_from(self, step: int, callbacks: Iterable[Any]) -> None:
        """Begin to note files, and tell callbacks of none that was written beyond a step.

        Args:
            step: Where the run stands.
            callbacks: Those that write files.
        """
        self._file = AppendFile(self._path)
        self._file.cut_torn_tail()
        self._to_come_again = {file for file, then in self._steps.items() if then >= step}
        for each in callbacks:
            if each.dirpath is not None and self._places.get(each.state_key) != str(each.dirpath):
                self._places[each.state_key] = str(each.dirpath)
                self._note(callback=each.state_key, dirpath=str(each.dirpath))
            each.file_exists = self._asking(each.file_exists)

    def note(self, path: Path | str, step: int) -> None:
        """Note a file that is about to be written."""
        if self._file is not None:
            file = os.path.abspath(path)  # noqa: PTH100  # as the callbacks name it: links stay
            self._note(file=file, step=step)
            self._to_come_again.discard(file)

    def close(self) -> None:
        """Note nothing more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _note(self, **line: Any) -> None:
        assert self._file is not None
        self._file.append(json.dumps(line).encode())

    def _asking(self, exists: Any) -> Any:
        def file_exists(filepath: Any, trainer: Any) -> bool:
            is_to_come = os.path.abspath(str(filepath)) in self._to_come_again  # noqa: PTH100  # likewise
            return not is_to_come and bool(exists(filepath, trainer))

        return file_exists


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # cut off by a kill
            continue
    return found
