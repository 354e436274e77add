"""Whatever a Trainer is asked to do: ended at a step and begun again, its training never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import Trainer, TrainerCallback

import unbroken
from support.hf_training import Killed, Lines, came_to, trained, trainer_of
from unbroken.integrations.transformers import protect

BY_EPOCH = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
OFTEN = {"eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, "load_best_model_at_end": True}


class LeavesTheFirstEpoch(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Ends the first epoch after two steps."""

    def on_step_end(self, _args: Any, state: Any, control: Any, **_kwargs: Any) -> None:
        if state.global_step == 2:
            control.should_epoch_stop = True


class Own(Trainer):  # type: ignore[misc]  # likewise
    """Has methods of its own, which draw."""

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(model, inputs, *args, **kwargs) * (1 + torch.rand(()))

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        torch.rand(3)
        return super().training_step(*args, **kwargs)


class Counts(TrainerCallback):  # type: ignore[misc]  # likewise
    """Has a state of its own, which the rate follows."""

    def __init__(self) -> None:
        self.calls = 0

    def state_dict(self) -> dict[str, int]:
        return {"calls": self.calls}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]

    def on_step_begin(self, *_args: Any, model: Any = None, **_kwargs: Any) -> None:
        self.calls += 1
        with torch.no_grad():
            model.transformer.ln_f.bias += 0.001 * self.calls


CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "evaluated by epoch": ({**BY_EPOCH, "num_train_epochs": 3}, 6, 4),
    "ended early": ({**OFTEN, "patience": 2, "learning_rate": 0.5, "num_train_epochs": 9}, 2, 1),
}
"""Arguments, the step after which it is ended, and the step it goes on from."""

LONG: dict[str, tuple[dict[str, Any], int, int]] = {
    "by steps": ({"max_steps": 7, "num_train_epochs": 9}, 5, 3),
    "an epoch that a callback ends": ({"callbacks": [LeavesTheFirstEpoch()]}, 5, 3),
    "ended early, by epoch": (
        {**BY_EPOCH, "patience": 1, "learning_rate": 0.5, "num_train_epochs": 9}, 6, 4),
    "grouped by length": ({"train_sampling_strategy": "group_by_length"}, 5, 3),
    "rebalanced": ({"train_sampling_strategy": "batch_rebalance"}, 5, 3),
    "in order": ({"train_sampling_strategy": "sequential", "data": Lines(draws=False)}, 5, 3),
    "a plateau": (
        {"eval_strategy": "steps", "eval_steps": 2, "lr_scheduler_type": "reduce_lr_on_plateau",
         "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5}, "metric_for_best_model": "loss",
         "num_train_epochs": 3}, 8, 6),
    "restarts of a cosine": (
        {"lr_scheduler_type": "cosine_with_restarts", "warmup_steps": 3,
         "label_smoothing_factor": 0.1, "weight_decay": 0.1, "num_train_epochs": 3}, 8, 6),
    "bf16": ({"bf16": True}, 5, 3),
    "two workers": ({"dataloader_num_workers": 2}, 5, 3),
    "workers that are kept": (
        {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, **BY_EPOCH}, 6, 4),
    "noise on embeddings": ({"neftune_noise_alpha": 5.0}, 5, 3),
    "no accumulation": ({"gradient_accumulation_steps": 1, "save_steps": 4}, 6, 4),
    "three batches a step, the last left out": (
        {"gradient_accumulation_steps": 3, "dataloader_drop_last": True}, 4, 3),
    "no clipping, SGD": ({"optim": "sgd", "max_grad_norm": 0.0}, 5, 3),
    "Adafactor": ({"optim": "adafactor"}, 5, 3),
    "an evaluation at the start": (
        {"eval_on_start": True, "eval_strategy": "steps", "eval_steps": 3}, 5, 3),
    "no saves of its own": ({"save_strategy": "no", "protect": {"save_every": 2}}, 5, 4),
    "the best alone": (
        {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "best",
         "metric_for_best_model": "loss", "load_best_model_at_end": True, "save_total_limit": 1}, 5, 4),
    "killed before the first save": ({"save_steps": 6}, 4, 0),
    "a class derived from Trainer": ({"trainer_class": Own}, 5, 3),
    "adapters of PEFT": ({"lora": True}, 5, 3),
    "tokens counted": ({"include_num_input_tokens_seen": "all"}, 5, 3),
    "a fraction of an epoch": ({"num_train_epochs": 1.5}, 5, 3),
}  # fmt: skip


def require_exact(place: Path, chosen: dict[str, Any], ended: int, goes_on_from: int) -> None:
    """Compare a training with one that is ended and begun again."""
    whole, _ = trained(place / "whole", **chosen)
    with pytest.raises(Killed):
        trained(place / "ended", **chosen, **{"raise": ended})
    result, trainer = trained(place / "ended", **chosen)
    assert whole == result
    assert goes_on_from == trainer.unbroken.report.position.step
    assert str(trainer.unbroken.verdict.outcome) in ("EXACT", "UNPROVED")


@pytest.mark.parametrize("name", CASES)
def test_the_training_is_the_one_that_was_not_stopped(name: str, tmp_path: Path) -> None:
    """The same weights to the last bit, the same log, the same best score."""
    require_exact(tmp_path, *CASES[name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
@pytest.mark.parametrize("name", LONG)
def test_every_way_to_train(name: str, tmp_path: Path) -> None:
    """Samplers, schedules, optimizers, precision, workers, evaluations and saves."""
    require_exact(tmp_path, *LONG[name])


@pytest.mark.slow
def test_a_callback_says_its_state(tmp_path: Path) -> None:
    """One with `state_dict` and `load_state_dict` goes on where it stood."""
    whole, _ = trained(tmp_path / "whole", callbacks=[Counts()])
    with pytest.raises(Killed):
        trained(tmp_path / "ended", callbacks=[Counts()], **{"raise": 5})
    result, _ = trained(tmp_path / "ended", callbacks=[Counts()])
    assert whole == result


@pytest.mark.slow
def test_further_parts_go_on(tmp_path: Path) -> None:
    """An average of the weights that a callback makes, and a generator that it draws from."""

    def averaged(place: str, **chosen: Any) -> dict[str, Any]:
        trainer = trainer_of(tmp_path / place, **chosen)
        average = AveragedModel(trainer.model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        own = torch.Generator().manual_seed(1)

        class Averages(TrainerCallback):  # type: ignore[misc]  # likewise
            def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
                if torch.rand((), generator=own) < 0.7:
                    average.update_parameters(trainer.model)

        trainer.add_callback(Averages())
        protect(trainer, parts={"average": average, "own": own})
        return {"weights": came_to(trainer, trainer.train()), "average": average.state_dict()}

    whole = averaged("whole")
    with pytest.raises(Killed):
        averaged("ended", **{"raise": 5})
    result = averaged("ended")
    assert whole["weights"] == result["weights"]
    assert all(torch.equal(e, result["average"][n]) for n, e in whole["average"].items())


@pytest.mark.slow
def test_workers_may_come_and_go(tmp_path: Path) -> None:
    """A start with two goes on from one with none, and the weights are those of none."""
    whole, _ = trained(tmp_path / "whole")
    with pytest.raises(Killed):
        trained(tmp_path / "ended", **{"raise": 5})
    result, trainer = trained(tmp_path / "ended", dataloader_num_workers=2)
    assert whole == result
    assert "EXACT" == str(trainer.unbroken.verdict.outcome)


@pytest.mark.slow
def test_a_folder_may_be_named(tmp_path: Path) -> None:
    """The training goes on from the run's state of its step, and comes to the same end."""
    whole, _ = trained(tmp_path / "run")
    trainer = protect(trainer_of(tmp_path / "run"))
    output = trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert 3 == trainer.unbroken.report.position.step
    assert whole == came_to(trainer, output)


def test_an_evaluation_changes_nothing(tmp_path: Path) -> None:
    """With one after each step the weights are those of a training without any."""
    often = {"eval_strategy": "steps", "eval_steps": 1}
    with_it, without = (trained(tmp_path / str(len(e)), max_steps=4, **e)[0] for e in (often, {}))
    assert with_it["weights"] == without["weights"]


def test_nothing_is_written_of_a_step_that_came_out_otherwise(tmp_path: Path) -> None:
    """Samples were edited that no fingerprint reads: it is found in a batch, before a folder appears."""
    with pytest.raises(Killed):
        trained(tmp_path / "run", **{"raise": 6, "save_steps": 3})
    edited = Lines(edited=(3, 6, 10, 13, 17, 20))
    with pytest.raises((unbroken.ResumeRefused, unbroken.Diverged)):
        trained(tmp_path / "run", data=edited, save_steps=1)
    assert ["checkpoint-3"] == [each.name for each in (tmp_path / "run").glob("checkpoint-*")]


def test_a_training_that_is_done_trains_nothing(tmp_path: Path) -> None:
    """It is finished again: the best model is loaded, the result is the same."""
    chosen = {**BY_EPOCH, "max_steps": 5}
    first, _ = trained(tmp_path / "run", **chosen)
    again, trainer = trained(tmp_path / "run", **chosen)
    assert first == again
    assert 5 == trainer.unbroken.report.position.step
