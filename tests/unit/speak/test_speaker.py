from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from support.tiny_model import tiny_config
from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.audio import write_audio
from unbroken_tts.prepare.conditioning import MelStat
from unbroken_tts.speak.speaker import speaker_of


@pytest.fixture
def config() -> GptConfig:
    """A model that takes speaker vectors, as IndexTTS-2.5 does."""
    return tiny_config(spk_cond_mode="campplus", language_rows=107, speed_rows=False)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Half a second of noise."""
    noise = np.random.default_rng(1).standard_normal(12_000).astype(np.float32)
    write_audio(tmp_path / "prompt.wav", 0.1 * noise, 24_000)
    return tmp_path / "prompt.wav"


def test_a_recording_gives_a_speaker_vector_of_the_model(
    config: GptConfig, recording: Path
) -> None:
    """One row of 192 values, and an emotion as wide as the model; the same each time."""
    speaker = speaker_of(str(recording), None, [], config)
    assert ((1, 192), (12,)) == (tuple(speaker.condition.shape), tuple(speaker.emo_vec.shape))
    again = speaker_of(str(recording), str(recording), [], config)
    assert torch.equal(speaker.condition, again.condition)
    assert torch.equal(speaker.emo_vec, again.emo_vec)


def test_a_vector_in_a_file_is_a_voice(config: GptConfig, tmp_path: Path) -> None:
    """What `prepare` wrote for 2.5 is read; rows that 2.0 would take are refused by their shape."""
    for kind, shape in (("condition", (1, 192)), ("emo_vec", (12,))):
        (tmp_path / kind).mkdir()
        np.save(tmp_path / kind / "a.npy", np.full(shape, 0.5, dtype=np.float32))
    speaker = speaker_of(str(tmp_path / "condition" / "a.npy"), None, [], config)
    assert ((1, 192), (12,)) == (tuple(speaker.condition.shape), tuple(speaker.emo_vec.shape))
    np.save(tmp_path / "condition" / "a.npy", np.zeros((4, 12), dtype=np.float32))
    with pytest.raises(DataInvalid, match=r"the model needs finite float32 \[1, 192\]"):
        speaker_of(str(tmp_path / "condition" / "a.npy"), None, [], config)


def test_a_recording_is_no_voice_where_another_conditioner_made_the_training_data(
    config: GptConfig, recording: Path, tmp_path: Path
) -> None:
    """Vectors of CAM++ and statistics of a spectrogram are two languages, also of one shape."""
    (tmp_path / "prepare.json").write_text(json.dumps({"conditioner": "af55e70ed675d2be"}), "utf-8")
    with pytest.raises(
        SettingsInvalid, match="conditioned by af55e70ed675d2be, not by the embedded"
    ):
        speaker_of(str(recording), None, [str(tmp_path / "train_pairs.jsonl")], config)


def test_the_emotion_has_its_own_width_only_where_it_is_another() -> None:
    """A digest of before counts on: the emotion's width is part of it only if it differs."""
    assert MelStat(4, 12).fingerprint == MelStat(4, 12, emotion_width=12).fingerprint
    assert MelStat(4, 12).fingerprint != MelStat(4, 12, emotion_width=16).fingerprint
