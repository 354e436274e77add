"""The Python code on the pages runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from unbroken.checkpoint.layout import Layout

ROOT = Path(__file__).parent.parent.parent
PAGES = ["README.md", "docs/library.md"]


UPDATE = "step.update(clip_norm=1.0)\n"


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


RUN_EACH = """
import os, re, sys, tempfile, traceback
from pathlib import Path

page, failed = Path(sys.argv[1]).read_text("utf-8"), 0
for title, text in re.findall(r"^## (.*?)\\n(.*?)(?=^## |\\Z)", page, re.M | re.S):
    for code in re.findall(r"```python\\n(.*?)```", text, re.S):
        os.chdir(tempfile.mkdtemp(dir=sys.argv[2]))
        sys.path_importer_cache.clear()
        try:
            exec(compile(code, title, "exec"), {"__name__": "__main__"})
            print("ran", title)
        except (Exception, SystemExit):
            traceback.print_exc()
            failed = 1
sys.exit(failed)
"""
"""Runs the examples of a page in one process, each in a directory of its own: torch loads once."""


def test_the_examples_of_the_public_names_run(tmp_path: Path) -> None:
    """Every group of docs/api.md has one example, and it runs as it stands."""
    page = ROOT / "docs" / "api.md"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_EACH, str(page), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    groups = re.findall(r"^## (.*)$", page.read_text("utf-8"), re.MULTILINE)
    assert groups == re.findall(r"^ran (.*)$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_a_killed_example_ends_as_one_that_was_not(tmp_path: Path, page: str) -> None:
    """What a reader tries first: the loop of the page, killed and started again, ends with the same bits."""
    (code,) = (code for where, code in examples() if where == page and UPDATE in code)
    dying = code.replace(UPDATE, f"{UPDATE}    if step.number == 25:\n        os._exit(9)\n")
    for name, codes in (("undisturbed", [code]), ("killed", [f"import os\n{dying}", code])):
        (tmp_path / name).mkdir()
        for each in codes:
            done = subprocess.run(
                [sys.executable, "-c", each], cwd=tmp_path / name, capture_output=True, check=False
            )
            assert done.returncode == (9 if each is not code else 0), done.stderr
    undisturbed, killed = (
        Layout(tmp_path / name / "training_output") for name in ("undisturbed", "killed")
    )
    expected, found = (
        max(layout.checkpoints.iterdir()) / "model.safetensors" for layout in (undisturbed, killed)
    )
    assert expected.read_bytes() == found.read_bytes()
