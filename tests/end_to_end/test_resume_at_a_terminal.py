"""The trainer at a real terminal: what is found at a resume, and what the person does about it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from support.pseudo_terminal import run_at_terminal, run_code_at_terminal
from support.tiny_trainer import (
    TinyTrainer,
    environment,
    journal,
    newest,
    require_equal,
    write_tiny_trainer,
)
from unbroken.checkpoint.layout import Layout
from unbroken.journal.journal import read_lines
from unbroken.report.countdown import BATCH_VARIABLES

TRAINER = Path(__file__).parents[2] / "trainers/train_gpt_v2.py"
RUN_FILE = """
import runpy, sys
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Does what `python FILE` does; where no key is pressed its imports need not be made again."""
pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="needs pseudo-terminals: runs on Linux and macOS"
)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def whole(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole")
    assert trainer.start(output).code == 0
    return output


@pytest.fixture
def stopped(trainer: TinyTrainer, tmp_path: Path) -> Path:
    """A training stopped before its seventh step."""
    trainer.stop(tmp_path / "run", at=6)
    return tmp_path / "run"


def at_terminal(
    trainer: TinyTrainer, output: Path, *more: str, key: bytes = b""
) -> tuple[int, str]:
    words = [str(TRAINER), *trainer.flags(output, "--resume", "auto", *more)]
    attended = {name: each for name, each in environment().items() if name not in BATCH_VARIABLES}
    attended["COLUMNS"] = "200"
    if key:
        return run_at_terminal(words, key, environment=attended)
    return run_code_at_terminal(RUN_FILE, *words, environment=attended)


def test_a_healthy_resume_is_said_to_be_one_and_proved(
    trainer: TinyTrainer, whole: Path, stopped: Path
) -> None:
    """All checks agree, the repeated steps are exact, and the end is the uninterrupted one."""
    code, shown = at_terminal(trainer, stopped)
    assert 0 == code, shown
    assert "ALL CHECKS PASSED" in shown
    assert ", 0 differ, 0 cannot compare" in shown
    assert re.search(r"\[Replay\] EXACT \((\d)/\1 steps: data, loss, gradient, update\)", shown)
    assert "CRITICAL" not in shown
    require_equal(whole, stopped)


def test_ctrl_c_in_the_countdown_changes_nothing(trainer: TinyTrainer, stopped: Path) -> None:
    """Exit code 3; checkpoints, journal and `latest` are as they were."""
    before = (journal(stopped), newest(stopped).path, Layout(stopped).latest.read_bytes())
    code, shown = at_terminal(trainer, stopped, "--learning-rate", "0.01", key=b"\x03")
    assert 3 == code, shown
    assert "CRITICAL" in shown
    assert "Press Ctrl+C within 10 seconds to abort..." in shown
    assert "VALIDATION FAILED" in shown
    assert before == (journal(stopped), newest(stopped).path, Layout(stopped).latest.read_bytes())
    assert "refused" == list(read_lines(Layout(stopped).history))[-1]["event"]


def test_without_a_key_it_goes_on_with_the_saved_value(
    trainer: TinyTrainer, whole: Path, stopped: Path
) -> None:
    """The flag that differs does not act: the end is that of the run as it was begun."""
    code, shown = at_terminal(trainer, stopped, "--learning-rate", "0.01", "--abort-window", "0.1")
    assert 0 == code, shown
    assert "continuing with the saved values" in shown
    require_equal(whole, stopped)


def test_with_nobody_there_it_is_refused_or_goes_on_as_told(
    trainer: TinyTrainer, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    """Unattended: exit code 3; with --on-critical continue the saved value acts."""
    copy = Path(shutil.copytree(stopped, tmp_path / "copy"))
    ended = trainer.run(stopped, "--learning-rate", "0.01")
    assert 3 == ended.returncode, ended.stdout + ended.stderr
    assert "Nobody can be asked" in ended.stdout
    ended = trainer.run(copy, "--learning-rate", "0.01", "--on-critical", "continue")
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    require_equal(whole, copy)


def test_the_command_that_is_shown_takes_the_new_value(
    trainer: TinyTrainer, whole: Path, stopped: Path
) -> None:
    """What the report says to type does what it says."""
    ended = trainer.run(stopped, "--learning-rate", "0.01")
    assert "--accept settings-unchanged" in ended.stdout
    ended = trainer.run(stopped, "--learning-rate", "0.01", "--accept", "settings-unchanged")
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert "[Replay] UNPROVED" in ended.stdout or "[Replay]" not in ended.stdout, ended.stdout
    assert journal(whole)[6] == journal(stopped)[6]
    assert journal(whole)[9] != journal(stopped)[9]
