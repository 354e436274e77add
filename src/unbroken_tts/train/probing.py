"""The trainer's probe: the losses of two samples, computed as in validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import torch

from unbroken import Probe
from unbroken_tts.data.batch import Batch
from unbroken_tts.data.samples import PairDataset, collate
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.layout import Layout

SAMPLES = 2
"""Number of samples in the probe: the first ones of the data set."""


def probe_of(
    model: VoiceGpt, dataset: PairDataset, layout: Layout, autocast: Callable[[], Any]
) -> Probe:
    """Return the probe of a run.

    Args:
        model: On its device.
        dataset: The training samples.
        layout: The layout of text and codes.
        autocast: Returns the autocast context of a forward pass.
    """
    samples = [dataset[i] for i in range(min(SAMPLES, len(dataset)))]
    batch = collate(
        samples,
        stop_text_token=model.config.stop_text_token,
        stop_mel_token=model.config.stop_mel_token,
    )
    tensors = {each.name: getattr(batch, each.name) for each in fields(batch) if each.name != "ids"}

    def losses(kept: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        count = len(kept["text_lengths"])
        given = Batch(ids=[str(i) for i in range(count)], **kept)
        with autocast():
            sums = model(given, layout)
        text = kept["text_lengths"].sum() + count
        mel = kept["code_lengths"].sum() + count
        return {"text_loss": sums.text_loss_sum / text, "mel_loss": sums.mel_loss_sum / mel}

    return Probe(tensors, losses, [model])
