"""The program as a process: help, exit codes and messages of what can't be run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TRAINER = ROOT / "trainers" / "train_gpt_v2.py"
REQUIRED = ["--train-manifest", "a.jsonl", "--val-manifest", "b.jsonl", "--tokenizer", "t.model"]


def call(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def program(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return call("-m", "unbroken_tts.cli.main", *words, cwd=cwd, **environment)


def test_help_lists_the_commands(tmp_path: Path) -> None:
    """The top-level help names every command and the exit codes."""
    done = program("--help", cwd=tmp_path)
    assert 0 == done.returncode
    for word in ("prepare", "train", "evaluate", "say", "export", "demo", "example", " 75 "):
        assert word in done.stdout


def test_help_of_train_teaches_on_a_console_without_unicode(tmp_path: Path) -> None:
    """The users' command stands in it, for both systems, in letters any console has."""
    done = call(str(TRAINER), "--help", cwd=tmp_path, PYTHONIOENCODING="ascii:strict")
    assert 0 == done.returncode
    assert "--output-dir training_output --resume auto --amp" in done.stdout
    assert "preprocessed_amharic\\train_pairs.jsonl ^" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "COMMAND"),
        (["tain"], "Did you mean train?"),
        (["train"], "--train-manifest, --val-manifest and --tokenizer are missing"),
        (["train", "--no-such-flag"], "--no-such-flag is an unknown flag"),
        (["train", *REQUIRED, "--bach-size", "3"], "Did you mean --batch-size?"),
        (["train", *REQUIRED, "--batch", "3"], "--batch is an unknown flag"),
        (["train", *REQUIRED, "stray"], "stray is an extra word"),
        (["train", *REQUIRED, "--batch-size"], "expected one argument"),
        (["train", *REQUIRED, "--learning-rate", "-1e-5"], "--learning-rate is '-1e-5'"),
        (["train", *REQUIRED, "--val-interval", "-inf"], "--val-interval is '-inf'"),
        (["train", *REQUIRED, "--settings", "absent.yaml"], "absent.yaml can't be read"),
    ],
)
def test_bad_usage_is_one_clear_message(tmp_path: Path, words: list[str], expected: str) -> None:
    """What, why and what to do on stderr, exit code 2, nothing written, no traceback."""
    done = program(*words, cwd=tmp_path)
    assert 2 == done.returncode
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) >= 3
    assert "Traceback" not in done.stderr
    assert "" == done.stdout
    assert [] == list(tmp_path.iterdir())


def test_a_python_without_the_package_says_how_to_install(tmp_path: Path) -> None:
    """The trainer's file alone explains itself: what is missing, the two ways, exit code 2."""
    shutil.copy(TRAINER, tmp_path)
    done = call("-S", "-I", str(tmp_path / TRAINER.name), "--help", cwd=tmp_path)
    assert 2 == done.returncode
    assert "has no package" in done.stderr
    assert "make setup" in done.stderr
    assert "python -m pip install -c constraints.txt" in done.stderr


def test_a_reader_that_goes_away_is_no_bug(tmp_path: Path) -> None:
    """`... --help | head` leaves no traceback behind."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "unbroken_tts.cli.main", "train", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=write_end,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    os.close(write_end)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["train", "--epochs", "0"]])
def test_answers_that_need_no_training_come_at_once(tmp_path: Path, words: list[str]) -> None:
    """Help and refusals don't wait for torch to be imported."""
    code = (
        "import sys; from unbroken_tts.cli.main import main\n"
        f"try: main({words!r})\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert 0 == call("-c", code, cwd=tmp_path).returncode


@pytest.mark.parametrize(("optimize", "code"), [("-OO", 2), ("-O", 1)])
def test_a_python_without_docstrings_is_told_to_be_the_cause(
    tmp_path: Path, optimize: str, code: int
) -> None:
    """With -OO transformers fails while it is imported: that is no bug of the program."""
    failing = tmp_path / "commands"
    failing.mkdir()
    (failing / "fail.py").write_text("def add_parser(parsers): raise ValueError('no docstring')\n")
    run = (
        "import sys; sys.path.insert(0, '.'); from unbroken import Program, run_program\n"
        "sys.exit(run_program(Program(name='p', description='', commands={'fail': ''}, "
        "package='commands', exit_codes='', install=''), ['fail']))"
    )
    done = call(optimize, "-c", run, cwd=tmp_path)
    assert code == done.returncode, done.stderr
    assert ("this is a bug" in done.stderr) == (code == 1)
    assert ("-OO" in done.stderr.splitlines()[-1]) == (code == 2)
