"""Features, bases and runs are bound to a codec and a conditioner."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.tiny_base import TinyBase, write_tiny_base
from support.tiny_trainer import TinyTrainer, newest
from unbroken_tts.data.origin import PREPARED
from unbroken_tts.model.base import read_base
from unbroken_tts.model.conditioning_encoders import conditioning_fingerprint

EMBEDDED = {"codec": None, "conditioner": "m1", "made": {"codec": "c0", "tokenizer": "t"}}
ONE_STEP = ("--max-steps", 1, "--warmup-steps", 1)


@pytest.fixture
def base(trainer: TinyTrainer, tmp_path: Path) -> TinyBase:
    """A base, and data of its own."""
    return write_tiny_base(trainer, tmp_path)


@pytest.fixture
def real(trainer: TinyTrainer, tmp_path: Path) -> Path:
    """A configuration that names a semantic codec."""
    document = yaml.safe_load((trainer.root / "config.yaml").read_text("utf-8"))
    document["semantic_codec"] = {"codebook_size": 32}
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(document), "utf-8")
    return tmp_path / "real.yaml"


def made_with(base: TinyBase, **other: Any) -> None:
    """Say that the encoders of the base made its data."""
    own = conditioning_fingerprint(read_base(base.gpt).untrained_encoders)
    known = {
        "codec": {"codec": "maskgct"},
        "conditioner": own,
        "conditioner_name": "indextts",
        "made": {"codec": "c1", "tokenizer": "t"},
    }
    (base.data / PREPARED).write_text(json.dumps(known | other), "utf-8")


def test_a_run_records_what_made_its_features(
    trainer: TinyTrainer, base: TinyBase, real: Path, tmp_path: Path
) -> None:
    """The right features train, and codec and conditioner are facts of the run."""
    made_with(base)
    ended = trainer.start(tmp_path / "run", *base.flags, "--config", real, *ONE_STEP)
    assert ended.code == 0, ended.err
    assert "another tool" not in ended.out
    facts = newest(tmp_path / "run").facts()
    assert ("maskgct", "c1") == (facts["features"]["codec"], facts["features"]["codec_fingerprint"])
    again = trainer.start(
        tmp_path / "other", *base.flags, *ONE_STEP, "--init-from", tmp_path / "run", resume=""
    )
    assert again.code == 0, again.err
    made_with(base, made={"codec": "c2", "tokenizer": "t"})
    other = trainer.start(
        tmp_path / "third", *base.flags, *ONE_STEP, "--init-from", tmp_path / "run", resume=""
    )
    assert other.code == 2
    assert "was trained on codes of maskgct c1, the features have those of maskgct c2" in other.err


def test_features_of_the_embedded_kind_are_refused_for_the_real_model(
    trainer: TinyTrainer, base: TinyBase, real: Path, tmp_path: Path
) -> None:
    """Exit code 2 with the command that makes the right ones, and nothing is begun."""
    (base.data / PREPARED).write_text(json.dumps(EMBEDDED), "utf-8")
    ended = trainer.start(tmp_path / "run", *base.flags, "--config", real, *ONE_STEP)
    assert ended.code == 2
    assert "were made with melvq and melstat" in ended.err
    assert (
        f"unbroken-tts prepare RECORDINGS --output NEW_DIRECTORY --indextts {tmp_path}" in ended.err
    )
    assert not list((tmp_path / "run").glob("**/step-*"))
    ended = trainer.start(tmp_path / "run", *base.flags, *ONE_STEP)
    assert ended.code == 0, ended.err


def test_conditioning_of_another_gpt_is_refused(
    trainer: TinyTrainer, base: TinyBase, real: Path, tmp_path: Path
) -> None:
    """Features are bound to the encoders of the very file that is fine-tuned."""
    made_with(base, conditioner="0123456789abcdef")
    ended = trainer.start(tmp_path / "run", *base.flags, "--config", real, *ONE_STEP)
    assert ended.code == 2
    assert "made with the conditioning encoders 0123456789ab, " in ended.err


def test_features_of_other_tools_are_said_to_be_unknown(
    trainer: TinyTrainer, base: TinyBase, real: Path, tmp_path: Path
) -> None:
    """Nothing is assumed, and filler is looked for by durations; here none is known."""
    ended = trainer.start(tmp_path / "run", *base.flags, "--config", real, *ONE_STEP)
    assert ended.code == 0, ended.err
    assert "features were made by another tool" in ended.out
    assert "of 44 of 44 samples neither the recording nor its duration is there" in ended.out
    assert newest(tmp_path / "run").facts()["features"] is None


def test_mixed_and_damaged_records_are_named(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path
) -> None:
    """Two kinds of features in one training, and a record that can't be read."""
    made_with(base)
    shutil.copytree(base.data, tmp_path / "more")
    made_with(base, made={"codec": "c9", "tokenizer": "t"})
    flags = (*base.flags, "--val-manifest", tmp_path / "more/val_pairs.jsonl")
    ended = trainer.start(tmp_path / "run", *flags, *ONE_STEP)
    assert ended.code == 2
    assert "features of different kinds: maskgct c1 with" in ended.err
    (base.data / PREPARED).write_text("{}", "utf-8")
    ended = trainer.start(tmp_path / "run", *base.flags, *ONE_STEP)
    assert ended.code == 2
    assert f"{base.data / PREPARED} is damaged" in ended.err


def test_filler_is_told_and_cut(
    trainer: TinyTrainer, base: TinyBase, real: Path, tmp_path: Path
) -> None:
    """Padded codes are counted and listed; cut, they are other data, which a resume tells."""
    for split in ("train", "val"):
        path = base.data / f"{split}_pairs.jsonl"
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for row in rows:
            codes = row["target_code_len"] - 3 * (row["target_id"] == "train_00002")
            row["target_duration"] = (400 + (2 * codes - 2) * 160) / 16_000
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    flags = (*base.flags, "--config", real, "--warmup-steps", 1)
    told = trainer.start(tmp_path / "told", *flags, "--max-steps", 1)
    assert told.code == 0, told.err
    assert "train: 2 samples of 44 have more codes than their recordings last, 6 codes" in told.out
    assert "cut it with --trim-codes" in told.out
    cut = trainer.start(tmp_path / "cut", *flags, "--max-steps", 2, "--trim-codes")
    assert cut.code == 0, cut.err
    assert "6 codes of filler in all: cut off" in cut.out
    assert newest(tmp_path / "cut").facts()["data"]["trim_codes"] is True
    uncut = trainer.start(tmp_path / "cut", *flags, "--max-steps", 2)
    assert uncut.code == 3
    assert "The training data are the run's: no" in uncut.err


def test_durations_of_another_unit_cut_nothing(
    trainer: TinyTrainer, base: TinyBase, real: Path, tmp_path: Path
) -> None:
    """In a batch the longest has no filler; where every sample would be cut, it isn't filler."""
    path = base.data / "train_pairs.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows:
        row["target_duration"] = 0.6 * row["target_code_len"] / 50
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    flags = (*base.flags, "--config", real, *ONE_STEP)
    ended = trainer.start(tmp_path / "run", *flags, "--trim-codes")
    assert ended.code == 2
    assert "no sample of the train data has as many codes as its recording lasts" in ended.err


def test_trimming_needs_the_rate_of_the_codes(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path
) -> None:
    """Without a semantic codec in the configuration the durations say nothing."""
    ended = trainer.start(tmp_path / "run", *base.flags, *ONE_STEP, "--trim-codes")
    assert ended.code == 2
    assert "names no semantic codec" in ended.err
