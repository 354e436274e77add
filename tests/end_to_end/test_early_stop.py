"""A stop that comes while the program is still being loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.tiny_trainer import environment

TRAINER = Path(__file__).parents[2] / "trainers/train_gpt_v2.py"
ASKED_WHILE_LOADING = """
import os, signal, sys

class Asking:
    def find_spec(self, name, path=None, target=None):
        if name == "unbroken.cli.program":
            os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        return None

sys.meta_path.insert(0, Asking())
from unbroken_tts.cli.start import train
train(["train", "--help"])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals to a process")
@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 75), ("SIGHUP", 75), ("SIGUSR1", 75), ("SIGINT", 130)]
)
def test_a_stop_while_the_program_is_loaded_has_its_exit_code(name: str, code: int) -> None:
    """Not the end by a signal, which a loop that starts it again would take for a failure."""
    ended = subprocess.run(
        [sys.executable, "-c", ASKED_WHILE_LOADING, name],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=120,
    )
    assert code == ended.returncode, ended.stderr
    assert "Traceback" not in ended.stderr
    assert f"Stopped by {name}" in ended.stderr


def test_nothing_heavy_is_loaded_before_a_stop_is_heard() -> None:
    """What both commands import first takes no time."""
    code = "import sys, unbroken_tts.cli.start; print({'torch', 'unbroken'} & {*sys.modules})"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    assert "set()" == ended.stdout.strip()
    assert "unbroken_tts.cli.start" in TRAINER.read_text("utf-8")
