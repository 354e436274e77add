from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.pairs import write_pairs
from unbroken_tts.data.limits import Limits
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.padded_codes import PaddedCodes, codes_in, find_padded
from unbroken_tts.data.preflight import preflight
from unbroken_tts.data.samples import PairDataset
from unbroken_tts.prepare.audio import write_audio

LIMITS = Limits(
    vocabulary=40,
    start_mel_token=32,
    max_text_tokens=40,
    max_mel_tokens=400,
    condition_rows=32,
    model_dim=16,
)


def seconds_of(codes: int) -> float:
    """The shortest recording with so many codes: every code but the last has both its banks."""
    return (400 + (2 * codes - 2) * 160) / 16_000


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Eight pairs of four targets."""
    return write_pairs(tmp_path, 8)


def rewrite(manifest: Path, change: Any) -> list[dict[str, Any]]:
    """Change every line of a manifest."""
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    for row in rows:
        change(row)
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return rows


def checked(manifest: Path, tmp_path: Path, *, trims: bool) -> PaddedCodes:
    """Look for filler in checked samples."""
    pairs = preflight(load_pairs([str(manifest)]), LIMITS, tmp_path / "cache").pairs
    return find_padded(pairs, [str(manifest)], trims=trims)


@given(samples=st.integers(400, 1_000_000))
def test_the_number_of_codes_is_that_of_the_feature_extractor(samples: int) -> None:
    """Banks of 25 ms every 10 ms, in pairs; the last bank may be alone. In 2.5 pairs of pairs."""
    banks = len(range(0, samples - 400 + 1, 160))
    assert (banks + 1) // 2 == codes_in(samples / 16_000)
    assert (banks + 3) // 4 == codes_in(samples / 16_000, rows_per_code=2)


def test_filler_is_found_by_the_recording(manifest: Path, tmp_path: Path) -> None:
    """The header counts, whatever a manifest says; a recording that is whole has no filler."""
    (tmp_path / "wavs").mkdir()

    def recorded(row: dict[str, Any]) -> None:
        name = f"wavs/{row['target_id']}.wav"
        cut = 3 if row["target_id"] == "train_00001" else 0
        samples = round(16_000 * seconds_of(row["target_code_len"] - cut))
        write_audio(tmp_path / name, np.ones(samples, dtype=np.float32), 16_000)
        row |= {"target_audio_path": name, "target_duration": 0.1}

    rows = rewrite(manifest, recorded)
    found = checked(manifest, tmp_path, trims=False)
    assert (2, 6, 0) == (found.padded, found.surplus, found.unknown)
    assert "train_00001__" in found.listed[0]
    cut = checked(manifest, tmp_path, trims=True)
    assert [row["target_code_len"] - 3 * ("train_00001" == row["target_id"]) for row in rows] == (
        cut.pairs.code_lengths.tolist()
    )
    assert cut.fingerprint != found.fingerprint
    dataset = PairDataset(cut.pairs)
    assert cut.pairs.code_lengths.tolist() == [len(dataset[i].codes) for i in range(8)]


def test_the_duration_of_a_prompt_is_that_of_its_own_codes(manifest: Path, tmp_path: Path) -> None:
    """Where a target is a prompt elsewhere, its duration is known without the recording."""
    lengths: dict[str, int] = {}
    rewrite(manifest, lambda row: lengths.update({row["target_id"]: row["target_code_len"]}))

    def told(row: dict[str, Any]) -> None:
        if row["prompt_id"] in lengths:
            row["prompt_duration"] = seconds_of(lengths[row["prompt_id"]] - 4)

    rows = rewrite(manifest, told)
    prompts = {row["prompt_id"] for row in rows} & lengths.keys()
    known = [row for row in rows if row["target_id"] in prompts]
    found = checked(manifest, tmp_path, trims=False)
    assert len(known) == found.padded > 0
    assert len(rows) - len(known) == found.unknown


@pytest.mark.parametrize("seconds", [None, "long", -1.0, 0, 1e30, float("nan")])
def test_durations_that_are_none_find_nothing(manifest: Path, tmp_path: Path, seconds: Any) -> None:
    """An absurd or missing duration cuts no codes."""
    rewrite(manifest, lambda row: row.update({"target_duration": seconds}))
    found = checked(manifest, tmp_path, trims=True)
    assert 0 == found.padded == found.surplus
