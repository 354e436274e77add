from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from unbroken.errors import SettingsInvalid
from unbroken_tts.cli.main import main
from unbroken_tts.data import Limits, load_pairs, overlap_note, preflight
from unbroken_tts.example import BASE_TOKENIZER, CHECKPOINT, CONFIG, DATA, TOKENIZER, make_example
from unbroken_tts.model.base import check_base, read_base
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.tokenizers import processor


def tree(directory: Path) -> dict[str, bytes]:
    """All files by name."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, laid out."""
    directory = tmp_path_factory.mktemp("example")
    make_example(directory)
    return directory


def test_example_lies_under_the_names_of_the_guide(example: Path, tmp_path: Path) -> None:
    """The manifests stand the preflight; the checkpoint fits the configuration and tokenizers."""
    train = load_pairs([str(example / DATA / "train_pairs.jsonl")])
    val = load_pairs([str(example / DATA / "val_pairs.jsonl")])
    assert len(train.ids) > 100
    assert len(val.ids) > 4
    base = processor((example / BASE_TOKENIZER).read_bytes())
    extended = processor((example / TOKENIZER).read_bytes())
    assert base.GetPieceSize() < extended.GetPieceSize()
    weights = read_base(example / CHECKPOINT)
    assert base.GetPieceSize() == weights.vocabulary
    check_base(weights, GptConfig.from_yaml(example / CONFIG), extended.GetPieceSize())
    config = GptConfig.from_yaml(example / CONFIG)
    limits = Limits(
        vocabulary=extended.GetPieceSize(),
        start_mel_token=config.start_mel_token,
        max_text_tokens=config.max_text_tokens,
        max_mel_tokens=config.max_mel_tokens,
        condition_rows=config.condition_num_latent,
        model_dim=config.model_dim,
    )
    for pairs in (train, val):
        assert preflight(pairs, limits, tmp_path / "cache").notes == ()
    assert overlap_note(train, val) is None
    tensors = torch.load(example / CHECKPOINT, weights_only=True)
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_example_is_the_same_everywhere(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command, in another directory, all files have the same bytes but for times."""
    assert main(["example", "--directory", str(tmp_path)]) == 0
    assert "--resume auto --amp" in capsys.readouterr().out
    for name in ("train_pairs.jsonl", "val_pairs.jsonl", "tokenizer.model", "prepare.json"):
        assert (example / DATA / name).read_bytes() == (tmp_path / DATA / name).read_bytes()
    for kind in ("codes", "condition", "emo_vec", "text_ids"):
        for path in (example / DATA / kind).iterdir():
            assert path.read_bytes() == (tmp_path / DATA / kind / path.name).read_bytes()
    assert (example / CONFIG).read_bytes() == (tmp_path / CONFIG).read_bytes()
    ours = torch.load(example / CHECKPOINT, weights_only=True)
    theirs = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_second_call_makes_nothing_again(example: Path) -> None:
    """What is complete is left as it is, to the byte."""
    before = tree(example)
    assert make_example(example).summary.prepared_now == 0
    assert before == tree(example)


@pytest.mark.parametrize("name", [BASE_TOKENIZER, TOKENIZER, CONFIG, CHECKPOINT, f"{DATA}/x.jsonl"])
def test_files_of_others_are_never_touched(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any file in the way that the example did not make stops it before it writes: exit 2."""
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    assert main(["example", "--directory", str(tmp_path)]) == 2
    assert "not made by the example" in capsys.readouterr().err
    assert {str(path): b"mine"} == tree(tmp_path)


def test_changed_file_is_the_users(tmp_path: Path) -> None:
    """A file of ours that the user has changed is theirs."""
    make_example(tmp_path)
    config = tmp_path / CONFIG
    config.write_text(config.read_text(encoding="utf-8").replace("layers: 2", "layers: 3"))
    with pytest.raises(SettingsInvalid, match=r"checkpoints/config\.yaml"):
        make_example(tmp_path)
    assert "layers: 3" in config.read_text(encoding="utf-8")


def test_interrupted_example_is_completed(example: Path, tmp_path: Path) -> None:
    """Stopped before the end, a second call completes it."""

    class StoppedError(Exception):
        pass

    def stop(_name: str) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        make_example(tmp_path, stages=stop)  # type: ignore[arg-type]  # it raises before it returns
    make_example(tmp_path)
    manifest = f"{DATA}/train_pairs.jsonl"
    assert (example / manifest).read_bytes() == (tmp_path / manifest).read_bytes()
    assert set(json.loads((tmp_path / "checkpoints/example.json").read_text())) == {
        BASE_TOKENIZER,
        TOKENIZER,
        CONFIG,
        CHECKPOINT,
    }
