"""The trainer as its users run it: signals to the whole group, terminals, pipes, and their command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.tiny_trainer import (
    TESTS,
    TinyTrainer,
    environment,
    journal,
    newest,
    require_equal,
    write_tiny_trainer,
)
from unbroken.journal.journal import read_lines

ROOT = TESTS.parent
COMMAND = (
    "trainers/train_gpt_v2.py --train-manifest preprocessed_amharic/train_pairs.jsonl "
    "--val-manifest preprocessed_amharic/val_pairs.jsonl "
    "--tokenizer tokenizers/amharic_extended_bpe.model "
    "--output-dir training_output --resume auto --amp"
)
"""What the guide tells its readers to type, word for word."""
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and terminals of POSIX")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """Return the files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def whole(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an uninterrupted training."""
    output = tmp_path_factory.mktemp("whole")
    assert trainer.start(output).code == 0
    return output


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SIGTERM", 75),
        ("SIGINT", 130),
        pytest.param("SIGUSR1", 75, marks=pytest.mark.slow),
        pytest.param("SIGHUP", 75, marks=pytest.mark.slow),
    ],
)
def test_workers_survive_a_signal_to_the_whole_group(
    trainer: TinyTrainer, whole: Path, tmp_path: Path, name: str, code: int
) -> None:
    """Terminals and batch systems signal every process; only the training one decides."""
    workers = ("--num-workers", "2" if name == "SIGTERM" else "1")
    stopped = trainer.run(tmp_path, *workers, event=f"group:{name}:6:3", is_preloaded=False)
    assert stopped.returncode == code, stopped.stderr
    assert newest(tmp_path).path.name == "step-00000006+6"
    assert max(journal(tmp_path)) == 9, "the workers were gone for the steps after the save"
    assert len(stopped.stderr.splitlines()) == 3, stopped.stderr
    assert trainer.start(tmp_path).code == 0
    require_equal(whole, tmp_path)


def program(trainer: TinyTrainer, output: Path, *more: str) -> list[str]:
    """Return the command line of a training."""
    flags = trainer.flags(output, "--resume", "auto", *more)
    return [sys.executable, "-m", "unbroken_tts.cli.main", "train", *flags]


def test_a_reader_that_goes_away_does_not_end_the_training(
    trainer: TinyTrainer, whole: Path, tmp_path: Path
) -> None:
    """`| head` and a killed `| tee` cost the lines; the run and its log file are whole."""
    process = subprocess.Popen(
        program(trainer, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"Device: ")
    process.stdout.close()
    assert process.wait(timeout=240) == 0
    require_equal(whole, tmp_path)
    assert "Training complete" in (tmp_path / "logs/console.log").read_text("utf-8")


def test_the_bar_is_on_the_terminal_and_stdout_stays_clean(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """With stderr a terminal and stdout a file, every line is in the file and only bars are not."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with (tmp_path / "out.txt").open("wb") as out:
        process = subprocess.Popen(
            program(trainer, tmp_path / "run"), stdout=out, stderr=theirs, env=environment()
        )
    os.close(theirs)
    shown = read_all(ours)
    assert process.wait(timeout=240) == 0, shown
    text = (tmp_path / "out.txt").read_text("utf-8")
    assert text == (tmp_path / "run/logs/console.log").read_text("utf-8")
    assert "\x1b" not in text
    assert "[Train] step=20 " in text
    assert b"Training" in shown
    assert b"/22" in shown
    assert b"[Train]" not in shown


def read_all(descriptor: int) -> bytes:
    """Read what comes from a terminal until its other side is closed."""
    found = b""
    while True:
        try:
            data = os.read(descriptor, 1 << 16)
        except OSError:  # how Linux says that the other side is closed
            data = b""
        if not data:
            os.close(descriptor)
            return found
        found += data


def test_a_terminal_that_hangs_up_is_a_stop(trainer: TinyTrainer, tmp_path: Path) -> None:
    """A closed window or a lost connection saves and ends by 75, though nothing can be shown."""
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        program(trainer, tmp_path, "--max-steps", "5000", "--val-interval", "5000"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # no threads here
    )
    os.close(theirs)
    shown = b""
    while b"step=8 " not in shown:
        shown += os.read(ours, 1 << 16)
    os.close(ours)
    assert process.wait(timeout=240) == 75
    assert newest(tmp_path).position.step >= 8
    assert "Stopped by SIGHUP" in (tmp_path / "logs/console.log").read_text("utf-8")


def test_the_command_of_the_guide_is_stopped_and_typed_again(tmp_path: Path) -> None:
    """On what `make example` lays out, half of it: stopped by SIGTERM, it goes on and ends; nothing is lost."""
    pytest.importorskip("espeakng_loader")
    made = subprocess.run(
        [sys.executable, "-m", "unbroken_tts.cli.main", "example"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    manifest = tmp_path / "preprocessed_amharic/train_pairs.jsonl"
    pairs = manifest.read_text("utf-8").splitlines(keepends=True)
    manifest.write_text("".join(pairs[::2]), "utf-8", newline="\n")
    typed = [sys.executable, *COMMAND.replace("trainers", str(ROOT / "trainers"), 1).split()]
    first = subprocess.Popen(
        typed, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    )
    output = tmp_path / "training_output"
    deadline = time.monotonic() + 240
    while sum(1 for _ in read_lines(output / "journal.jsonl")) < 3:
        assert time.monotonic() < deadline
        with pytest.raises(subprocess.TimeoutExpired):  # it prints nothing before step 100
            first.wait(0.05)
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=240)
    assert first.returncode == 75, said
    assert "Batch size: 1 (auto-detected)" in said
    assert "Grad accumulation: 32 (auto-detected)" in said
    assert "Effective batch: 32" in said
    again = subprocess.run(
        typed, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
        timeout=240,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "Resumed run" in again.stdout
    assert "[Val] step=20 " in again.stdout
    lines = list(read_lines(output / "journal.jsonl"))
    assert set(range(1, 21)) == {line["step"] for line in lines}
    repeated = {line["step"] for line in lines if line["start"] == 1} & {
        line["step"] for line in lines if line["start"] == 2
    }
    assert repeated, "the stop left nothing to repeat"
    for step in repeated:
        one, two = ({**line, "start": 0} for line in lines if line["step"] == step)
        assert one == two
