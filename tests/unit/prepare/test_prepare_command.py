from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from unbroken_tts.cli.main import main
from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.model.config import GptConfig


@pytest.fixture
def command(corpus: Corpus, config: GptConfig, base_model: bytes, tmp_path: Path) -> list[str]:
    """The words of a command that works, without the tokenizer."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"gpt": config.model_dump()}), "utf-8")
    (tmp_path / "base.model").write_bytes(base_model)
    words = ["prepare", corpus.metadata, "--output", tmp_path / "out"]
    words += ["--config", tmp_path / "config.yaml", "--val-ratio", "0.2"]
    return [str(word) for word in words]


def test_preparing_by_command(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary is printed, progress goes to stderr as lines, and the data is there."""
    base = str(tmp_path / "base.model")
    assert main([*command, "--extend-tokenizer", base, "--vocabulary", "420"]) == 0
    told = capsys.readouterr()
    assert "(420 pieces)" in told.out
    assert "old ids  unchanged; 255 texts in the old language" in told.out
    assert "Preparing recordings: 1 of 24\n" in told.err
    assert (tmp_path / "out" / "train_pairs.jsonl").stat().st_size > 0


def test_training_a_tokenizer_by_command(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a base, a tokenizer is trained on the texts."""
    assert main([*command, "--train-tokenizer", "250", "--pairs-per-target", "1"]) == 0
    assert "Unknown    0 of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("0 of --tokenizer, --extend-tokenizer", []),
        ("2 of --tokenizer, --extend-tokenizer", ["--tokenizer", "x", "--train-tokenizer", "9"]),
        ("both SOURCE and --metadata", ["--metadata", "x", "--train-tokenizer", "300"]),
        ("The tokenizer nowhere can't be read", ["--tokenizer", "nowhere"]),
        ("The tokenizer nowhere can't be read", ["--extend-tokenizer", "nowhere"]),
        ("tokenizer is to have 5 pieces", ["--train-tokenizer", "5"]),
        ("--on-bad", ["--on-bad", "ignore", "--train-tokenizer", "300"]),
        ("The validation ratio is 7.0", ["--train-tokenizer", "300", "--val-ratio", "7"]),
        ("codec description", ["--train-tokenizer", "300", "--codec", "nowhere"]),
        ("nowhere.yaml", ["--train-tokenizer", "300", "--config", "nowhere.yaml"]),
    ],
)
def test_bad_words_are_told(
    command: list[str], told: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Words that contradict one another, or lead nowhere, end with exit 2 and a message."""
    assert main([*command, *words]) == 2
    assert told in capsys.readouterr().err
