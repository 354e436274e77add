"""What a trainer of TRL keeps beside the model goes on: generations, counts, measurements, a reference.

Trained is a class that keeps them under TRL's names; `tests/end_to_end/test_trl.py` trains TRL's own.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch
from transformers import Trainer

from support.hf_training import Killed, trained
from unbroken.integrations.transformers.of_trl import kept_by, parts_of

EVERY = 4
"""Batches that are trained on what was generated once."""


class Generates(Trainer):  # type: ignore[misc]  # transformers has no types here
    """Trains four batches on what it has drawn at the first of them, as GRPO does."""

    __module__ = "trl.stands_in"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._step = self._total_train_tokens = 0
        self._buffered_inputs: Any = None
        self._metrics: Any = {"train": defaultdict(list), "eval": defaultdict(list)}

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        self._step += 1
        return loss

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self._step % EVERY == 0 or self._buffered_inputs is None:
            self._buffered_inputs = [{"drawn": torch.rand(()), "no": None} for _ in range(EVERY)]
        drawn = self._buffered_inputs[self._step % EVERY]["drawn"]
        self._metrics["train"]["drawn"].append(float(drawn))
        self._total_train_tokens += len(inputs)
        return super().compute_loss(model, inputs, *args, **kwargs) * (1 + drawn)

    def log(self, logs: Any, *args: Any, **kwargs: Any) -> None:
        measured = self._metrics["train"]
        means = {name: sum(each) / len(each) for name, each in measured.items()}
        measured.clear()
        super().log({**logs, **means, "num_tokens": self._total_train_tokens}, *args, **kwargs)


@pytest.mark.parametrize("ended", [4, 5, 6])
def test_it_goes_on_exactly(ended: int, tmp_path: Path) -> None:
    """The same weights and the same log, saved in the middle of what was generated, and between two logs."""
    chosen = {"trainer_class": Generates, "save_steps": 3, "logging_steps": 2}
    whole, _ = trained(tmp_path / "whole", **chosen)
    with pytest.raises(Killed):
        trained(tmp_path / "ended", **chosen, **{"raise": ended})
    result, trainer = trained(tmp_path / "ended", **chosen)
    assert whole == result
    assert 3 <= trainer.unbroken.report.position.step < ended


def test_nothing_is_taken_from_another_trainer(tmp_path: Path) -> None:
    """The names are TRL's: what another class keeps under them is its own."""
    _, trainer = trained(tmp_path / "plain")
    trainer._step = 3  # as TRL's
    assert {} == kept_by(trainer)
    assert {} == parts_of(trainer)


def test_generated_images_are_left_out(tmp_path: Path) -> None:
    """What can't be saved stops no training: it is generated again."""
    _, trainer = trained(tmp_path / "run", trainer_class=Generates)
    trainer._buffered_inputs = [{"image": object()}]  # as TRL's
    assert "_buffered_inputs" not in kept_by(trainer)
    assert "_metrics" in kept_by(trainer)
