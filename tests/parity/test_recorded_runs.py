"""Fed with the recorded samples, our model trains as the earlier trainer's did."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from support.legacy_fixture import expected, legacy_config, recorded_model, samples
from unbroken_tts.model.losses import legacy_loss

if TYPE_CHECKING:
    from unbroken_tts.model.gpt import VoiceGpt

RECORDED = expected()
SAMPLES = samples()
CONFIG = legacy_config()
# Rounding of float32 in other orders, grown over 24 or 36 updates.
TOLERANCE = 1e-5


def _factor(update: int, warmup: int, total: int) -> float:
    """Return the share of the peak rate that the earlier trainer applied at an update, from 0."""
    if update < warmup:
        return update / warmup
    progress = (update - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1 + math.cos(math.pi * progress)))


def _micro_batch(model: VoiceGpt, micro: dict[str, Any], accumulation: int) -> list[float]:
    sums = model(SAMPLES.batch(micro["samples"], CONFIG), "legacy")
    legacy_loss(sums, 0.2, 0.8, accumulation).backward()
    return [
        sums.text_loss_sum.item() / sums.text_tokens,
        sums.mel_loss_sum.item() / sums.mel_tokens,
        sums.mel_top1_hits.item() / sums.mel_tokens,
    ]


@pytest.mark.parametrize(
    ("name", "accumulation", "total"),
    [
        pytest.param("1x1", 1, 24, id="24 steps of one sample"),
        # 38 updates were planned, 36 done: left-over micro-batches of an epoch went into the first
        # step of the next, so steps 10, 19 and 28 have five.
        pytest.param("4x3", 3, 38, id="36 steps of 4 x 3, some of 4 x 5"),
    ],
)
def test_a_dropout_free_run_is_reproduced(name: str, accumulation: int, total: int) -> None:
    """Losses, gradient norms and final parameter norms are as recorded, to 1e-5 relative."""
    run = RECORDED["runs"][name]
    model = recorded_model("weights_base", dropout=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    for update, step in enumerate(run["steps"]):
        optimizer.param_groups[0]["lr"] = 2e-3 * _factor(update, 4, total)
        for micro in step["micro_batches"]:
            found = _micro_batch(model, micro, accumulation)
            assert micro["scores"] == pytest.approx(found, rel=TOLERANCE, abs=1e-7)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert step["grad_norm"] == pytest.approx(norm.item(), rel=TOLERANCE)
        optimizer.step()
        optimizer.zero_grad()
    norms = {key: tensor.norm().item() for key, tensor in model.table().items()}
    assert run["final_norms"] == pytest.approx(norms, rel=TOLERANCE)
