"""The table of a protected function is shown whole where it is news, and in one line where it is not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout
from unbroken.counts import counted
from unbroken.protection.begun_anew import Anew
from unbroken.protection.found import Found, FoundObjects

_log = logging.getLogger("unbroken")


class KeptTable:
    """The table of this start, beside that of the start before, which the run's directory holds.

    Args:
        layout: The run's directory.
        text: The table.
        found: What is saved.
        loader: Whose batches the loop trains on; None where it draws its own.
        anew: What is not saved.
    """

    def __init__(
        self,
        layout: Layout,
        text: str,
        found: FoundObjects,
        loader: Found | None,
        anew: Sequence[Anew],
    ) -> None:
        self._file = layout.logs / "protected.txt"
        self._content = f"{text}\n".encode()
        self._text = text
        self._saved = len(list(found.saved())) + (loader is not None)
        self._anew = len(anew)
        self._is_known = layout.run_file.exists() and _content(self._file) == self._content

    def show(self) -> None:
        """Log it, or that it is what it was."""
        _log.info("%s", self._in_short() if self._is_known else self._text)

    def _in_short(self) -> str:
        names = "1 name begins" if self._anew == 1 else f"{self._anew} names begin"
        anew = f", {names} anew" if self._anew else ""
        return (
            f"[Protect] saved and not saved as at the start before: {counted(self._saved, 'part')}{anew}; "
            f"{self._file} lists them."
        )

    def keep(self) -> None:
        """Write it where the next start finds it; where that fails, the next start shows it again."""
        if self._is_known:
            return
        try:
            disk.make_directory(self._file.parent)
            disk.replace_file(self._file, self._content)
        except OSError as error:
            _log.info("[Protect] %s can't be written: %s.", self._file, error)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
