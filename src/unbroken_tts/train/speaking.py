"""Speaks a few validation sentences during training, if there is a codec."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from unbroken import isolated
from unbroken_tts.model.generate import SpeechRequest, generate
from unbroken_tts.model.sampling import Sampling
from unbroken_tts.prepare.codec.codec import Codec
from unbroken_tts.train.logbook import Logbook
from unbroken_tts.train.session import TrainingSession


def speak_samples(session: TrainingSession, logbook: Logbook, step: int) -> None:
    """Write the first validation sentences as audio to TensorBoard, isolated from training."""
    settings = session.settings
    if not settings.sample_audio or settings.codec is None:
        return
    codec = _codec(settings.codec)
    if not codec.can_decode:
        return
    dataset = session.validation.dataset
    model = session.built.model
    for number in range(min(settings.sample_audio, len(dataset))):
        if session.run.stop.is_made:
            return
        sample = dataset[number]
        utterance = SpeechRequest(
            text_ids=sample.text_ids.tolist(), condition=sample.condition, emo_vec=sample.emo_vec
        )
        with isolated(model, seed=number):
            codes = generate(model, [utterance], Sampling(seed=number))[0]
        if codes:
            wave = torch.from_numpy(codec.decode(torch.tensor(codes, dtype=torch.int32).numpy()))
            logbook.spoken(step, number, wave, codec.sample_rate)


@lru_cache(maxsize=1)
def _codec(directory: Path) -> Codec:
    from unbroken_tts.prepare.codec.registry import load_codec  # noqa: PLC0415 -- only where asked

    return load_codec(directory)
