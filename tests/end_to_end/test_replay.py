"""The trainer's command proves its resume, and ends where a repeated step comes out otherwise."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from support.tiny_trainer import TinyTrainer, contents, journal, write_tiny_trainer
from unbroken.loop.schedule import Schedule

KILLED = -signal.SIGKILL
NEVER = "100"
"""Steps between validations, more than there are: a best checkpoint would be saved at any of them."""
KILL_AFTER, SAVED = 11, 8
"""The step whose line is the last, and the checkpoint before it."""


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """Return the files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def killed(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a training that was killed some steps after its last checkpoint."""
    output = tmp_path_factory.mktemp("killed")
    done = trainer.run(output, "--val-interval", NEVER, event=f"journal:{KILL_AFTER}")
    assert done.returncode == KILLED, done.stderr
    return output


@pytest.fixture
def broken_off(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "run"))


def resumed(trainer: TinyTrainer, output: Path, *more: str) -> tuple[int, str, list[str]]:
    """Resume in this process; return the exit code, what went to stderr, and the replay's lines."""
    ended = trainer.start(output, "--val-interval", NEVER, *more)
    return ended.code, ended.err, ended.lines("[Replay] ")


def test_a_killed_training_is_proved_exact(trainer: TinyTrainer, broken_off: Path) -> None:
    """A real kill, a resume in another process: all that was journalled comes out again."""
    done = trainer.run(broken_off, "--val-interval", NEVER)
    assert 0 == done.returncode, done.stderr
    line = "[Replay] EXACT (3/3 steps: data, loss, gradient, update)"
    assert [line] == [each for each in done.stdout.splitlines() if each.startswith("[Replay]")]
    assert line in (broken_off / "logs/console.log").read_text(encoding="utf-8")


def test_a_changed_feature_file_ends_it_before_its_step(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """Other bytes under an unchanged name, size and time: the file is named, nothing is trained."""
    copy = TinyTrainer(Path(shutil.copytree(trainer.root, tmp_path / "tiny")))
    output = tmp_path / "run"
    done = copy.run(output, "--val-interval", NEVER, event=f"journal:{KILL_AFTER}")
    assert done.returncode == KILLED, done.stderr
    for path in sorted((copy.root / "data").rglob("*.npy")):
        spoil(path)
    before = contents(output / "checkpoints")
    code, told, lines = resumed(copy, output)
    assert (2, []) == (code, lines)
    assert "changed since the preflight" in told
    assert [*range(1, KILL_AFTER + 1)] == sorted(journal(output))
    assert before == contents(output / "checkpoints")


def spoil(path: Path) -> None:
    """Change values of an array of floats in place and put the file's times back."""
    stat = path.stat()
    array = np.load(path)
    if array.dtype.kind == "f":
        raw = bytearray(path.read_bytes())
        offset = len(raw) - array.nbytes
        raw[offset:] = (array * array.dtype.type(1.01)).astype(array.dtype).tobytes()
        path.write_bytes(raw)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def other_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every schedule of this process give 1 % more once it is stepped."""
    original = Schedule.rates

    def rates(self: Schedule, updates: int) -> list[float]:
        more = 1.01 if updates > SAVED else 1.0
        return [more * each for each in original(self, updates)]

    def step(self: Schedule) -> None:
        self.updates += 1
        for group, rate in zip(self.optimizer.param_groups, rates(self, self.updates), strict=True):
            group["lr"] = rate

    monkeypatch.setattr(Schedule, "step", step)


def test_another_rate_after_the_resume_is_named(
    trainer: TinyTrainer, broken_off: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curve is left one step after the resume, behind every check; exit code 3."""
    other_rate(monkeypatch)
    code, told, lines = resumed(trainer, broken_off)
    assert 3 == code, told
    assert f"DIVERGED at step {SAVED + 2}: another learning rate" in lines[0]
    assert "(+1 %)" in lines[0]


def test_a_person_can_let_it_go_on(
    trainer: TinyTrainer, broken_off: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag that the message names does what it says."""
    other_rate(monkeypatch)
    code, told, lines = resumed(trainer, broken_off, "--on-diverged", "continue")
    assert 0 == code, told
    assert "DIVERGED" in lines[0]


def test_after_the_cause_is_mended_it_is_exact(
    trainer: TinyTrainer, broken_off: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines that the diverged start wrote are no reference for the next."""
    known = journal(broken_off)
    other_rate(monkeypatch)
    assert 3 == resumed(trainer, broken_off)[0]
    monkeypatch.undo()
    code, told, lines = resumed(trainer, broken_off)
    assert 0 == code, told
    assert ["[Replay] EXACT (3/3 steps: data, loss, gradient, update)"] == lines
    assert known == {n: line for n, line in journal(broken_off).items() if n in known}
