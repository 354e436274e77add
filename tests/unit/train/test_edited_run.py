"""Files of a run's directory that somebody edited: told, passed over or made anew, never a traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.tiny_trainer import SOURCE, TinyTrainer, environment
from unbroken_tts.train.run_facts import code_digest

QUICK = ("--val-interval", "0")
NUMBERS = ('"x"', "null", "[1]", "-1", "1e400", "9" * 30)


@pytest.fixture(scope="module")
def stopped(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a training stopped after five steps, with steps to be repeated."""
    output = tmp_path_factory.mktemp("stopped")
    trainer.stop(output, *QUICK, at=5)
    return output


@pytest.fixture
def output(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "out"))


def added(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def foreign_journal_lines(output: Path) -> None:
    kinds = ("step", "start", "updates", "loss", "lr", "grad_norm", "micro_batch", "samples")
    whole = {"step": 3, "start": 1, "updates": 3, "loss": 2.0, "lr": 1e-3, "grad_norm": 1.0}
    for kind in kinds:
        for value in NUMBERS:
            line = json.dumps({**whole, kind: "VALUE"})
            added(output / "journal.jsonl", line.replace('"VALUE"', value))
    added(output / "journal.jsonl", "[1]", "{}", '"step"', '{"step": 2}')


def foreign_history_lines(output: Path) -> None:
    for event in ("start", "saved", "diverged", "validation"):
        for kind in ("start", "step", "time", "checkpoint", "checks", "seconds", "computed_with"):
            for value in ('"x"', "null", "[1]", "{}", "-1"):
                added(output / "history.jsonl", f'{{"event": "{event}", "{kind}": {value}}}')
    added(output / "history.jsonl", "{}", "[1]", '{"event": null}')
    added(output / "history.jsonl", '{"event": "start", "start": 9, "checks": {"taken": 3}}')


def no_birth(output: Path) -> None:
    _edit(output / "run.json", lambda content: content.pop("created"))


def birth_as_text(output: Path) -> None:
    _edit(output / "run.json", lambda content: content.update(created="yesterday"))


def _edit(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def no_history(output: Path) -> None:
    (output / "history.jsonl").unlink()


def no_probe(output: Path) -> None:
    (output / "probe.safetensors").unlink()


def no_cache(output: Path) -> None:
    (output / "preflight.cache").write_bytes(b"\0" * 500)


@pytest.mark.parametrize(
    "spoil",
    [foreign_journal_lines, foreign_history_lines, no_birth, birth_as_text, no_history, no_probe,
     no_cache],
)  # fmt: skip
def test_the_run_goes_on_exactly(
    trainer: TinyTrainer, output: Path, spoil: Callable[[Path], None]
) -> None:
    """None of it is the state; the repeated steps prove that."""
    spoil(output)
    trainer.stop(output, *QUICK, at=7)
    log = (output / "logs/console.log").read_text("utf-8")
    assert "[Replay] EXACT" in log.rpartition("Resumed run")[2]


def test_encoders_that_are_gone_are_told_before_the_export(
    trainer: TinyTrainer, output: Path
) -> None:
    """They are kept once beside the run; training goes on without them."""
    shutil.rmtree(output / "base")
    trainer.stop(output, *QUICK, at=6)
    assert "no gpt.pth can be exported" in (output / "logs/console.log").read_text("utf-8")


def test_code_that_was_edited_is_named(trainer: TinyTrainer, output: Path, tmp_path: Path) -> None:
    """Another loss weighting in the loop itself: a note before the first step, and then the replay."""
    source = tmp_path / "src"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    loop = source / "unbroken_tts/train/loop.py"
    text = loop.read_text("utf-8")
    weights = "settings.text_loss_weight, settings.mel_loss_weight)"
    assert weights in text
    loop.write_text(text.replace(weights, f"0.5 * {weights}"), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-c", "from unbroken_tts.cli.main import main; raise SystemExit(main())",
         "train", *trainer.flags(output, "--resume", "auto", *QUICK)],
        env={**environment(), "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )  # fmt: skip
    assert 3 == ended.returncode, ended.stderr
    note, _, after = ended.stdout.partition("[Replay] DIVERGED")
    assert "changed since the checkpoint: code.unbroken_tts is" in note
    assert "code.unbroken is" not in note
    assert after


def test_line_ends_are_no_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is over names and content, on every system the same."""
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "some_package_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_bytes(b"a = 1\nb = 2\n")
    before = code_digest(package.name)
    (package / "__init__.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    assert before == code_digest(package.name)
    (package / "__init__.py").write_bytes(b"a = 1\nb = 3\n")
    assert before != code_digest(package.name)
