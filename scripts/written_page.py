"""A page of docs/ that a script writes, and that nobody edits."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_compare(page: Path, wanted: str) -> int:
    """Write the page, or compare it with --check; return the exit code of the script."""
    if "--check" not in sys.argv[1:]:
        page.write_text(wanted, encoding="utf-8", newline="\n")
        return 0
    found = page.read_text(encoding="utf-8") if page.exists() else ""
    if found == wanted:
        return 0
    print(f"{page.name} is not current: run `python scripts/{Path(sys.argv[0]).name}`.")
    return 1
