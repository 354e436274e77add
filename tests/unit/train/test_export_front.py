"""An export carries the text rules of the training, and `unbroken-tts front` measures them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from support.tiny_trainer import Ended, TinyTrainer, newest, run_program
from unbroken_tts.prepare.fronts import TextRules


def refused(ended: Ended, *words: str) -> None:
    assert 2 == ended.code, ended.err
    for word in words:
        assert word in ended.err


@pytest.fixture(scope="module")
def spoken(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run on Amharic data that `prepare` made by its own text front end."""
    root = tmp_path_factory.mktemp("spoken")
    shutil.copytree(trainer.root, root / "files")
    data = root / "files/data"
    for place in data.glob("*.jsonl"):
        text = place.read_text(encoding="utf-8").replace('"language": "xx"', '"language": "am"')
        place.write_text(text, encoding="utf-8")
    made = {"codec": None, "conditioner": "c", "made": {"codec": "c", "tokenizer": "t"}}
    record = {"normalisation": 1, "front": "unbroken", **made}
    (data / "prepare.json").write_text(json.dumps(record), "utf-8")
    ended = TinyTrainer(root / "files").start(root / "run", "--max-steps", "4")
    assert 0 == ended.code, ended.err
    return root / "run"


def test_the_rules_of_the_text_go_along(spoken: Path, tmp_path: Path) -> None:
    """Facts and record name the front end; its file lies in the folder, and all ids agree with it."""
    rules = {"front": "unbroken", "scheme": 1, "languages": ["am"]}
    assert rules == newest(spoken).facts()["text_rules"]
    target = tmp_path / "am"
    ended = run_program("export", spoken, target)
    assert 0 == ended.code, ended.err
    assert f"python {target / 'unbroken_front.py'} webui.py --model_dir {target}" in ended.out
    record = json.loads((target / "provenance.json").read_text(encoding="utf-8"))
    assert rules == record["text_rules"]
    assert "unbroken_front.py" in record["files"]
    texts = tmp_path / "texts.txt"
    texts.write_text("ሠላም ለዓለም።\nበ2017 ዓ.ም.\n\nok ዶ/ር\n", encoding="utf-8")
    for more in ((), ("--training", spoken), ("--front", "unbroken")):
        ended = run_program("front", target, "--texts", texts, "--json", *more)
        assert 0 == ended.code, ended.err
        found = {
            title: (each["equal"], each["texts"]) for title, each in json.loads(ended.out).items()
        }
        assert (3, 3) == found.pop("either of them, with unbroken_front.py")
        assert {(3, 3)} != set(found.values())
    ended = run_program("front", target, "--texts", texts)
    assert "either of them, with unbroken_front.py: equal ids in 3 of 3 texts" in ended.out


def test_a_changed_front_end_is_not_trusted(spoken: Path, tmp_path: Path) -> None:
    """A file that was edited is not counted as the training's rules, and is never executed."""
    target = tmp_path / "am"
    assert 0 == run_program("export", spoken, target).code
    file = target / "unbroken_front.py"
    file.write_text(f"raise SystemExit(9)\n{file.read_text('utf-8')}", encoding="utf-8")
    texts = tmp_path / "texts.txt"
    texts.write_text("ሠላም\n", encoding="utf-8")
    ended = run_program("front", target, "--texts", texts)
    assert 0 == ended.code
    assert "unbroken_front.py" not in ended.out


def test_what_front_needs_is_said(whole: Path, spoken: Path, tmp_path: Path) -> None:
    """No folder, no texts, no tokenizer, nothing that names the rules: each is one clear message."""
    texts = tmp_path / "texts.txt"
    texts.write_text("ሰላም\n", encoding="utf-8")
    refused(run_program("front", tmp_path / "no", "--texts", texts), "not a folder")
    refused(run_program("front", tmp_path, "--texts", tmp_path / "no"), "can't be read")
    refused(run_program("front", tmp_path, "--texts", texts, "--front", "unbroken"), "bpe.model")
    assert 0 == run_program("export", whole, tmp_path / "am").code
    refused(run_program("front", tmp_path / "am", "--texts", texts), "--training", "--front")
    ended = run_program("front", tmp_path / "am", "--texts", texts, "--training", whole)
    refused(ended, "doesn't say which rules")
    (tmp_path / "am/provenance.json").write_text("{", encoding="utf-8")
    refused(run_program("front", tmp_path / "am", "--texts", texts), "damaged")


def test_rules_of_another_version_are_refused(
    spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules that changed since the data was prepared don't go along under the old name."""
    real = TextRules.of_record

    def of_record(record: object) -> TextRules | None:
        found = real(record)
        return dataclasses.replace(found, scheme=99) if found else None

    monkeypatch.setattr(TextRules, "of_record", of_record)
    refused(run_program("export", spoken, tmp_path / "am"), "version 99")
    assert not (tmp_path / "am").exists()
