"""The Python code on the pages runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import preloaded
from unbroken.checkpoint.layout import Layout

ROOT = Path(__file__).parent.parent.parent
PAGES = ["README.md", "docs/library.md"]


UPDATE = "        optimizer.zero_grad()\n"


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


RUN_EACH = """
import linecache, os, re, sys, traceback
from pathlib import Path

page, title, failed = Path(sys.argv[1]).read_text("utf-8"), "", 0
found = re.finditer(r"```python\\n(.*?)```|^## (.*?)$", page, re.M | re.S)
for number, (code, heading) in enumerate(each.groups() for each in found):
    title = heading or title
    if code:
        place = Path(sys.argv[2], str(number))
        place.mkdir(exist_ok=True)
        os.chdir(place)
        sys.path_importer_cache.clear()
        linecache.cache[title] = (len(code), None, code.splitlines(True), title)
        try:
            exec(compile(code, title, "exec"), {"__name__": "__main__"})
            print("ran", title)
        except (Exception, SystemExit):
            traceback.print_exc()
            failed = 1
sys.exit(failed)
"""
"""Runs the examples of a page in one process, each in a directory of its own."""


def run_each(page: str, place: Path) -> list[str]:
    """Run the examples of a page as they stand; return under which titles they are."""
    done = preloaded.run_code(RUN_EACH, str(ROOT / page), str(place), action="error")
    assert 0 == done.returncode, done.stderr
    return re.findall(r"^ran (.*)$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(tmp_path: Path, page: str) -> None:
    """A reader can copy a block into a file and run it; run again, it resumes."""
    for _ in range(2):
        assert len(run_each(page, tmp_path)) == sum(where == page for where, _ in examples())


def test_the_examples_of_the_public_names_run(tmp_path: Path) -> None:
    """Every group of docs/api.md has one example, and it runs as it stands."""
    page = "docs/api.md"
    groups = re.findall(r"^## (.*)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert groups == run_each(page, tmp_path)


def test_a_killed_example_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """What a reader tries first: the README's loop, killed and started again, ends with the same bits."""
    (code,) = (code for where, code in examples() if where == "README.md" and UPDATE in code)
    dying = code.replace(
        UPDATE, f"{UPDATE}        if run.position.step == 24:\n            os._exit(9)\n"
    )
    for name, codes in (("undisturbed", [code]), ("killed", [f"import os\n{dying}", code])):
        (tmp_path / name).mkdir()
        for each in codes:
            done = preloaded.run_code(each, cwd=tmp_path / name)
            assert done.returncode == (9 if each is not code else 0), done.stderr
    undisturbed, killed = (Layout(tmp_path / name / "out") for name in ("undisturbed", "killed"))
    expected, found = (
        max(layout.checkpoints.iterdir()) / "model.safetensors" for layout in (undisturbed, killed)
    )
    assert expected.read_bytes() == found.read_bytes()
