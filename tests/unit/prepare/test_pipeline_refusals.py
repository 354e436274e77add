"""What can't be prepared is told at once, with its line, and nothing is lost."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from support.prepared import MANIFESTS, lines, listed, tree
from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan
from unbroken_tts.prepare.written import disk_full_is_told


@pytest.fixture
def damaged(corpus: Corpus, tmp_path: Path) -> Path:
    """A copy of the corpus in which four recordings or texts can't be used."""
    source = tmp_path / "damaged"
    shutil.copytree(corpus.directory, source)
    rows = lines(source / "metadata.jsonl")
    (source / rows[2]["audio"]).write_bytes(b"no audio")
    (source / rows[5]["audio"]).unlink()
    rows[7]["text"] = "\u200b"
    rows[9]["text"] = "ሰላም " * 200
    soundfile.write(source / rows[11]["audio"], 0.1 * np.ones(22_050 * 12), 22_050)
    return listed(source, rows)


def test_all_bad_recordings_are_told_at_once(
    damaged: Path, plan: PreparePlan, tmp_path: Path
) -> None:
    """What the head of a file shows stops before anything is written, and is told together."""
    with pytest.raises(DataInvalid) as told:
        prepare(damaged, tmp_path / "out", plan)
    assert "2 recordings can't be used" in str(told.value)
    assert f"{damaged}:3" in str(told.value)
    assert f"{damaged}:6" in str(told.value)
    assert not (tmp_path / "out").exists()


def test_bad_recordings_are_dropped_when_asked(
    damaged: Path, plan: PreparePlan, tmp_path: Path
) -> None:
    """Each is listed with its line; the rest is prepared."""
    output = tmp_path / "out"
    summary = prepare(damaged, output, dataclasses.replace(plan, on_bad="drop"))
    assert 19 == summary.prepared_now
    told = {row["where"].rsplit(":", 1)[1]: row["what"] for row in lines(output / "dropped.jsonl")}
    assert {"3", "6", "8", "10", "12"} == set(told)
    assert "is unreadable" in told["3"]
    assert "does not exist" in told["6"]
    assert "empty after normalisation" in told["8"]
    assert "more than max_text_tokens 120" in told["10"]
    assert "259 codes, the model takes 1 to 201" in told["12"]


def test_faults_found_late_stop_without_manifests(
    damaged: Path, plan: PreparePlan, tmp_path: Path
) -> None:
    """Faults that only the work shows are told together, too; what is finished is kept."""
    rows = [row for number, row in enumerate(lines(damaged)) if number not in {2, 5}]
    source, output = listed(damaged.parent, rows), tmp_path / "out"
    with pytest.raises(DataInvalid, match="3 recordings can't be used"):
        prepare(source, output, plan)
    assert not any((output / name).exists() for name in MANIFESTS)
    mended = [row for row in rows if row["id"] not in {"am_0007", "am_0009", "am_0011"}]
    assert 0 == prepare(listed(damaged.parent, mended), output, plan).prepared_now


def test_nothing_left_is_an_error(plan: PreparePlan, tmp_path: Path) -> None:
    """A list whose recordings are all missing is told even with drop."""
    source = listed(tmp_path, [{"id": "a", "text": "ሰላም", "audio": "a.wav"}])
    with pytest.raises(DataInvalid, match="None of the 1 recordings"):
        prepare(source, tmp_path / "out", dataclasses.replace(plan, on_bad="drop"))


def test_a_place_that_cannot_be_written_is_said(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """A file in the way of the output's directory is a mistake of the command, not a crash."""
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SettingsInvalid, match="Can't write to"):
        prepare(corpus.metadata, tmp_path / "file/out", plan)
    assert "precious" == (tmp_path / "file").read_text()


def test_other_choices_are_refused(corpus: Corpus, plan: PreparePlan, tmp_path: Path) -> None:
    """A data set keeps its tokenizer and sizes; only the split and the pairs may change."""
    output = tmp_path / "out"
    prepare(corpus.metadata, output, plan)
    before = tree(output)
    wider = plan.config.model_copy(update={"model_dim": 32})
    with pytest.raises(SettingsInvalid, match="model_dim was 16, now 32"):
        prepare(corpus.metadata, output, dataclasses.replace(plan, config=wider))
    trained = dataclasses.replace(plan, tokenizer=TokenizerPlan(kind="train", size=300))
    with pytest.raises(SettingsInvalid, match="this command asks for a tokenizer of 300 pieces"):
        prepare(corpus.metadata, output, trained)
    assert before == tree(output)
    more = prepare(corpus.metadata, output, dataclasses.replace(plan, pairs_per_target=3))
    assert (0, 3 * more.train_utterances) == (more.prepared_now, more.train_pairs)


@pytest.mark.parametrize("name", ["tokenizer.model", "codec/book.safetensors"])
def test_changed_tokenizer_or_codec_is_refused(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path, name: str
) -> None:
    """Features of two tokenizers or codecs are never mixed in one data set."""
    output = tmp_path / "out"
    prepare(corpus.metadata, output, plan)
    content = (output / name).read_bytes()
    for damaged in (content + b"\0", None):
        (output / name).unlink()
        if damaged is not None:
            (output / name).write_bytes(damaged)
        with pytest.raises(DataInvalid, match=Path(name).parts[0]):
            prepare(corpus.metadata, output, plan)
        (output / name).write_bytes(content)
    assert prepare(corpus.metadata, output, plan).prepared_now == 0


def test_foreign_directory_is_left_alone(corpus: Corpus, plan: PreparePlan, tmp_path: Path) -> None:
    """A directory with somebody's files is refused, and nothing in it changes."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train_pairs.jsonl").write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsInvalid, match="not a directory of prepared data"):
        prepare(corpus.metadata, tmp_path / "out", plan)
    assert {"train_pairs.jsonl": b"mine"} == tree(tmp_path / "out")


def test_full_disk_is_told_before(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little room is a clear error before the first feature is written."""
    usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(SettingsInvalid, match="24 recordings need about"):
        prepare(corpus.metadata, tmp_path / "out", plan)
    assert [] == list((tmp_path / "out").rglob("*.npy"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_disk_that_fills_up_is_told(tmp_path: Path) -> None:
    """A disk that fills up in the middle is a message that says the command can be repeated."""
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(SettingsInvalid, match="run the same command again"),
        disk_full_is_told(tmp_path),
    ):
        full.write(b"features")


def test_validation_without_pairs_is_noted(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """An empty validation manifest comes with the way to mend it."""
    summary = prepare(corpus.metadata, tmp_path / "out", dataclasses.replace(plan, val_ratio=0.001))
    assert 0 == summary.val_pairs
    assert any("Raise --val-ratio" in note for note in summary.notes)


def test_single_recordings_give_no_pairs(corpus: Corpus, plan: PreparePlan, tmp_path: Path) -> None:
    """If every speaker has one recording there is nothing to train on, and that is told."""
    rows = [dict(row, speaker=row["id"]) for row in lines(corpus.metadata)]
    for row in rows:
        row["audio"] = str(corpus.directory / row["audio"])
    with pytest.raises(DataInvalid, match="No pair can be made"):
        prepare(listed(tmp_path, rows), tmp_path / "out", plan)


@pytest.mark.parametrize(("field", "value"), [("val_ratio", 1.0), ("val_ratio", -0.1), ("pairs_per_target", 0)])  # fmt: skip
def test_nonsense_is_refused(plan: PreparePlan, field: str, value: Any) -> None:
    """Numbers without a meaning are refused by name."""
    with pytest.raises(SettingsInvalid):
        dataclasses.replace(plan, **{field: value})
