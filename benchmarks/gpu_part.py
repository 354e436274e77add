"""One part of `benchmarks/gpu.py` in a process of its own, which notes what it found as it goes.

What is noted is written to a file at once, so that a part which fails or runs out of time leaves what
it had.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any, Protocol

MODULES = {
    "resume": "gpu_resume",
    "save": "gpu_save",
    "speed-earlier": "gpu_speed_earlier",
    "speed-present": "gpu_speed",
    "speed-compiled": "gpu_speed_compiled",
    "memory": "gpu_memory",
    "bounds": "gpu_bounds",
    "resume-compiled": "gpu_resume_compiled",
}
"""The module of each part."""
ONE_AFTER_ANOTHER = [part for part in MODULES if part not in ("bounds", "resume-compiled")]
"""Those of a dry run; one left out is a program of its own, the other has the code of another part."""


class Note(Protocol):
    """Takes in what a part found."""

    def __call__(self, name: str, value: Any, rows: list[tuple[str, str]]) -> None:
        """Note a value under a name for the JSON, and lines for the table."""
        ...


class Notes:
    """Writes what a part found into a file, all of it each time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.found: dict[str, Any] = {}
        self.rows: list[tuple[str, str]] = []
        self.trouble = ""
        self.prefix = ""

    def __call__(self, name: str, value: Any, rows: list[tuple[str, str]]) -> None:
        """Note a value under a name, and lines for the table."""
        self.found[self.prefix + name] = value
        self.rows += rows
        for label, text in rows:
            print(f"  {label:44}{text}", flush=True)
        self.write()

    def write(self) -> None:
        """Write the file."""
        content = {"found": self.found, "rows": self.rows, "trouble": self.trouble}
        aside = self._file.with_suffix(".new")
        aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        aside.replace(self._file)


def main() -> None:
    """Run one part; what goes wrong is noted, and the process ends with 1."""
    parser = argparse.ArgumentParser(description="A part of benchmarks/gpu.py")
    parser.add_argument("part", choices=[*MODULES, "all"], help="all: most, in this one process")
    parser.add_argument("--device", required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--notes", type=Path, required=True)
    given = parser.parse_args()
    notes = Notes(given.notes)
    try:
        for part in ONE_AFTER_ANOTHER if given.part == "all" else [given.part]:
            notes.prefix = f"{part}: " if given.part == "all" else ""
            measure = importlib.import_module(MODULES[part]).measure
            measure(given.device, small=given.small, note=notes)
    except Exception:  # noqa: BLE001  # whatever it is, the other parts are to run
        notes.trouble = traceback.format_exc()[-4000:]
        print(notes.trouble, flush=True)
        notes.write()
        sys.exit(1)


if __name__ == "__main__":
    main()
