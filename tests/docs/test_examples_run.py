"""The Python code on the pages runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = ["README.md", "docs/library.md"]


def examples() -> list[tuple[str, str]]:
    """Return the page and the code of every Python block."""
    return [
        (page, code)
        for page in PAGES
        for code in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    ]


def test_there_are_examples() -> None:
    """The search below finds the blocks it is meant to find."""
    assert {page for page, _ in examples()} == set(PAGES)


@pytest.mark.parametrize(("page", "code"), examples())
def test_an_example_runs(tmp_path: Path, page: str, code: str) -> None:
    """A reader can copy a block into a file and run it, twice."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page}: {done.stderr}"
