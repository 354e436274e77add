"""Trains a few steps of whatever is given, and returns what the self-audit said of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import unbroken
from unbroken.audit.self_audit import UNSAVED
from unbroken.checkpoint.layout import Layout
from unbroken.journal.journal import read_lines

SAMPLES = 64


def order() -> unbroken.StepBatches:
    """Return steps of eight samples."""
    return unbroken.StepBatches([f"s{i}" for i in range(SAMPLES)], None, 8, 1)


def told(
    model: nn.Module,
    given: Callable[[], Any] = lambda: torch.randn(4, 4),
    *,
    loss: Callable[[Any], torch.Tensor] = lambda output: output.square().mean(),
    steps: int = 4,
    after_step: Callable[[], object] = lambda: None,
    **parts: Any,
) -> list[dict[str, Any]]:
    """Train a model and return what is in no checkpoint, as the history lists it.

    Args:
        model: Is called with what `given` returns, twice a step.
        given: Draws a batch.
        loss: Of the model's output.
        steps: Steps to train; it saves after the last.
        after_step: Is called at the end of each.
        parts: Other arguments of `Run`; `optimizer` by default Adam.
    """
    parts.setdefault("optimizer", torch.optim.Adam(model.parameters()))
    with tempfile.TemporaryDirectory() as place:
        run = unbroken.Run(
            Path(place, "run"), order=order(), model=model, **{"save_every": 0, **parts}
        )
        run.resume()
        for step in run.steps(steps):
            for _ in step.micro_batches(4):
                step.backward(loss(model(given())))
            step.update()
            after_step()
        run.close()
        history = list(read_lines(Layout(Path(place, "run")).history))
    return [one for line in history if line["event"] == UNSAVED for one in line["found"]]
