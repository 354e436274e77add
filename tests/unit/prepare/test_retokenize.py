from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.pairs import write_pairs
from support.prepared import lines, tree
from unbroken_tts.cli.main import main
from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan
from unbroken_tts.prepare.tokenizers import processor, train_tokenizer


@pytest.fixture(scope="module")
def prepared(
    corpus: Corpus, config: GptConfig, amharic: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Prepared data; nobody changes them."""
    root = tmp_path_factory.mktemp("data")
    (root / "first.model").write_bytes(train_tokenizer(amharic, 200))
    tokenizer = TokenizerPlan(kind="existing", path=root / "first.model")
    plan = PreparePlan(tokenizer=tokenizer, config=config, val_ratio=0.2, on_bad="drop")
    prepare(corpus.metadata, root / "out", plan)
    return root / "out"


@pytest.fixture(scope="module")
def grown(amharic: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with more pieces."""
    path = tmp_path_factory.mktemp("tokenizer") / "grown.model"
    path.write_bytes(train_tokenizer(amharic, 260))
    return path


def run(features: Path, tokenizer: Path, output: Path) -> int:
    """Run the command."""
    words = ["retokenize", features, "--tokenizer", tokenizer, "--output", output]
    return main([str(word) for word in words])


def test_new_ids_beside_untouched_features(
    prepared: Path, grown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The new manifests train: ids of the new tokenizer, everything else the former files."""
    before = tree(prepared)
    assert 0 == run(prepared, grown, tmp_path / "new")
    assert before == tree(prepared)
    told = capsys.readouterr().out
    assert "Unknown    0 of" in told
    assert "260 pieces; the former had 200" in told
    encoder = processor(grown.read_bytes())
    for old, new in zip(
        lines(prepared / "train_pairs.jsonl"),
        lines(tmp_path / "new/train_pairs.jsonl"),
        strict=True,
    ):
        ids = np.load(tmp_path / "new" / new["target_text_ids_path"])
        assert encoder.EncodeAsIds(old["target_text"]) == ids.tolist()
        assert len(ids) == new["target_text_len"]
    pairs = load_pairs([str(tmp_path / "new/train_pairs.jsonl")])
    former = load_pairs([str(prepared / "train_pairs.jsonl")])
    for role in ("code_paths", "condition_paths", "emo_paths"):
        assert [Path(path).resolve() for path in getattr(former, role)] == [
            Path(path).resolve() for path in getattr(pairs, role)
        ]
    described = [
        json.loads((at / "prepare.json").read_text("utf-8")) for at in (prepared, tmp_path / "new")
    ]
    assert described[0]["made"]["codec"] == described[1]["made"]["codec"]
    assert described[0]["made"]["tokenizer"] != described[1]["made"]["tokenizer"]


def test_data_of_another_tool_are_encoded_from_their_texts(grown: Path, tmp_path: Path) -> None:
    """Texts of other tools are normalised first; nothing is claimed about their features."""
    manifest = write_pairs(tmp_path / "other", 6)
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    for row in rows:
        row |= {"target_text": "ሠላም፣ ዓለም።", "target_language": "am"}
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert 0 == run(tmp_path / "other", grown, tmp_path / "new")
    encoder = processor(grown.read_bytes())
    first = lines(tmp_path / "new" / "train_pairs.jsonl")[0]
    ids = np.load(tmp_path / "new" / first["target_text_ids_path"])
    assert encoder.EncodeAsIds("ሰላም, አለም.") == ids.tolist()
    assert not (tmp_path / "new" / "prepare.json").exists()


def test_what_can_not_be_encoded_is_named_and_nothing_is_written(
    prepared: Path, grown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output that exists, no manifest, a damaged one, texts that are too long or contradict."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert 2 == run(prepared, grown, tmp_path / "full")
    assert "full exists" in capsys.readouterr().err
    assert 2 == run(tmp_path / "full", grown, tmp_path / "new")
    assert "has no manifest with texts" in capsys.readouterr().err
    assert 2 == run(prepared, tmp_path / "no.model", tmp_path / "new")
    assert "no.model can't be read" in capsys.readouterr().err
    other = tmp_path / "other"
    manifest = write_pairs(other, 4)
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    rows[0]["target_text"] = "another text"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert 2 == run(other, grown, tmp_path / "new")
    assert "also belongs to another text" in capsys.readouterr().err
    manifest.write_bytes(b"{")
    assert 2 == run(other, grown, tmp_path / "new")
    assert "train_pairs.jsonl can't be read" in capsys.readouterr().err
    assert ["full", "other"] == sorted(path.name for path in tmp_path.iterdir())


def test_too_many_tokens_are_named(prepared: Path, tmp_path: Path, english: list[str]) -> None:
    """A tokenizer without the script spells every text with more tokens than the model has room for."""
    limited = tmp_path / "limited"
    limited.mkdir()
    for name in ("train_pairs.jsonl", "prepare.json"):
        (limited / name).write_bytes((prepared / name).read_bytes())
    known = json.loads((limited / "prepare.json").read_text("utf-8")) | {"max_text_tokens": 2}
    (limited / "prepare.json").write_text(json.dumps(known), "utf-8")
    (tmp_path / "en.model").write_bytes(train_tokenizer(english, 300))
    assert 2 == run(limited, tmp_path / "en.model", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / ".new.partial").exists()
