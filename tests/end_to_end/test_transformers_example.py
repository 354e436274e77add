"""The example program of transformers, as people start it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("transformers")

EXAMPLE = Path(__file__).parents[2] / "examples" / "transformers_trainer.py"


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_it_trains_and_is_done_at_the_second_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints what it came to; started again it prints the same."""
    main = runpy.run_path(str(EXAMPLE))["main"]
    for _ in range(2):
        main(str(tmp_path / "output"))
    done = re.findall(r"done: 26 steps, loss [0-9.]+", capsys.readouterr().out)
    assert 2 == len(done)
    assert 1 == len(set(done))


def test_each_line_for_the_library_says_so() -> None:
    """What a program needs beside its own lines is marked, and is little."""
    code = EXAMPLE.read_text(encoding="utf-8").split('"""', 2)[2].splitlines()
    marked = [each for each in code if "# unbroken: " in each]
    assert 3 == len(marked)
    assert [] == [
        each for each in code if re.search("unbroken|protect", each) and each not in marked
    ]
