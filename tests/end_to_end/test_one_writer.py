"""The trainer and its directory: one at a time, and free at once after a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.tiny_trainer import SOURCE, TinyTrainer, contents, journal, write_tiny_trainer

HOLD = """
import sys
from pathlib import Path
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.lock import WriterLock
WriterLock(Layout(Path(sys.argv[1]))).take()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """The files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


def test_a_start_right_after_a_kill_is_not_refused(trainer: TinyTrainer, tmp_path: Path) -> None:
    """SIGKILL with two data-loading workers alive, and the same command at once again: it goes on."""
    flags = ("--num-workers", "2", "--max-steps", "9")
    killed = trainer.run(tmp_path, *flags, event="micro:6:3")
    assert -9 == killed.returncode, killed.stderr
    again = trainer.run(tmp_path, *flags)
    assert 0 == again.returncode, again.stderr
    assert "Resumed run" in again.stdout
    assert list(range(1, 10)) == sorted(journal(tmp_path))
    assert [] == [each.name for each in tmp_path.iterdir() if "writer" in each.name]


def test_a_second_training_in_the_directory_is_refused(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """Exit code 2, the other process is named, and the run is not touched."""
    assert 0 == trainer.start(tmp_path, "--max-steps", 2).code
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout
        assert child.stdout.readline()
        before = contents(tmp_path / "checkpoints")
        for how in ("auto", ""):
            ended = trainer.start(tmp_path, "--max-steps", 2, resume=how)
            assert 2 == ended.code
            assert f"is being written by process {child.pid} on " in ended.err
        assert before == contents(tmp_path / "checkpoints")
    assert 0 == trainer.start(tmp_path, "--max-steps", 2).code
