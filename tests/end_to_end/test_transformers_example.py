"""The example program of transformers, as people start it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("transformers")

EXAMPLE = Path(__file__).parents[2] / "examples" / "transformers_trainer.py"


@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_it_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it came to, and the run has its last state."""
    runpy.run_path(str(EXAMPLE))["main"](str(tmp_path / "output"))
    assert re.search(r"done: 26 steps, loss [0-9.]+", capsys.readouterr().out)
    assert (tmp_path / "output" / "unbroken" / "checkpoints" / "step-00000026").is_dir()


def test_each_line_for_the_library_says_so() -> None:
    """What a program needs beside its own lines is marked, and is little."""
    code = EXAMPLE.read_text(encoding="utf-8").split('"""', 2)[2].splitlines()
    marked = [each for each in code if "# unbroken: " in each]
    assert 3 == len(marked)
    assert [] == [
        each for each in code if re.search("unbroken|protect", each) and each not in marked
    ]
