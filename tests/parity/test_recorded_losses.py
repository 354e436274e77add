"""Our losses are those that the earlier trainer computed from the same weights and samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from support.legacy_fixture import expected, legacy_config, recorded_model, samples
from unbroken_tts.evaluate import evaluate

if TYPE_CHECKING:
    from unbroken_tts.data.batch import Batch
    from unbroken_tts.model.layout import Layout

WEIGHTS = ["weights_base", "weights_step24", "weights_step16"]
RECORDED = expected()
SAMPLES = samples()
CONFIG = legacy_config()
# Recorded as float32 with another version of transformers: sums run in another order.
TOLERANCE = 1e-5


def _batch(indices: list[int]) -> Batch:
    return SAMPLES.batch(indices, CONFIG)


def _scores(name: str, batches: list[list[int]], layout: Layout) -> Any:
    model = recorded_model(name)
    return evaluate(model, [_batch(indices) for indices in batches], layout=layout)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_padded_batch_has_the_recorded_losses(name: str) -> None:
    """In the legacy layout a padded batch scores as recorded, to 1e-5."""
    scores = _scores(name, [RECORDED["batch"]], "legacy")
    assert RECORDED["losses"][name]["batch"] == pytest.approx(
        [scores.text_loss, scores.mel_loss, scores.mel_top1], abs=TOLERANCE
    )


@pytest.mark.parametrize("name", WEIGHTS)
def test_each_row_of_a_padded_batch_has_the_recorded_losses(name: str) -> None:
    """In the legacy layout each row of a padded batch scores as recorded, to 1e-5."""
    scores = _scores(name, [RECORDED["batch"]], "legacy")
    for row, sample in zip(
        RECORDED["losses"][name]["row_in_padded_batch"], scores.per_sample, strict=True
    ):
        assert row == pytest.approx(
            [sample.text_loss, sample.mel_loss, sample.mel_top1], abs=TOLERANCE
        )


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("layout", ["legacy", "tight"])
def test_a_sample_alone_has_the_recorded_losses(name: str, layout: Layout) -> None:
    """Alone, where there is no padding, both layouts score as recorded, to 1e-5."""
    scores = _scores(name, [[index] for index in RECORDED["batch"]], layout)
    for row, sample in zip(RECORDED["losses"][name]["single"], scores.per_sample, strict=True):
        assert row == pytest.approx(
            [sample.text_loss, sample.mel_loss, sample.mel_top1], abs=TOLERANCE
        )


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_sample_in_a_tight_batch_has_the_recorded_losses_of_a_sample_alone(name: str) -> None:
    """In the tight layout a sample among mates scores as recorded for it alone, to 1e-5."""
    scores = _scores(name, [RECORDED["batch"]], "tight")
    for row, sample in zip(RECORDED["losses"][name]["single"], scores.per_sample, strict=True):
        assert row == pytest.approx(
            [sample.text_loss, sample.mel_loss, sample.mel_top1], abs=TOLERANCE
        )


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("size", [1, 8])
def test_validation_means_are_as_recorded(name: str, size: int) -> None:
    """Batch means weighted by samples, as the earlier trainer took them, are as recorded."""
    validation = range(RECORDED["train"], len(RECORDED["ids"]))
    model = recorded_model(name).eval()
    total, seen = torch.zeros(3, dtype=torch.float64), 0
    for at in range(validation.start, validation.stop, size):
        indices = list(range(at, min(at + size, validation.stop)))
        with torch.no_grad():
            sums = model(_batch(indices), "legacy")
        means = torch.stack([sums.text_loss_sum, sums.mel_loss_sum, sums.mel_top1_hits.float()])
        tokens = torch.tensor([sums.text_tokens, sums.mel_tokens, sums.mel_tokens])
        total += len(indices) * (means / tokens).double()
        seen += len(indices)
    assert RECORDED["losses"][name][f"validation_by_{size}"] == pytest.approx(
        (total / seen).tolist(), abs=TOLERANCE
    )
