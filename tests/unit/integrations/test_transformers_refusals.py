"""A Trainer that can't be protected is refused by name, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

import torch
import transformers
from torch.utils.data import IterableDataset

import unbroken
from support.hf_training import trainer_of
from unbroken.integrations.transformers import protect
from unbroken.integrations.transformers.arguments import MAY_CHANGE, settings_of
from unbroken.integrations.transformers.needed_names import METHODS, require_supported


class Stream(IterableDataset[Any]):
    """Has no index."""

    def __iter__(self) -> Any:
        yield from ()


def two_devices(trainer: Any) -> None:
    trainer.args._n_gpu = 2


def trained_already(trainer: Any) -> None:
    trainer.state.global_step = 3


def stream(trainer: Any) -> None:
    trainer.train_dataset = Stream()


def argument(name: str, value: Any) -> Any:
    return lambda trainer: setattr(trainer.args, name, value)


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (argument("auto_find_batch_size", True), unbroken.SettingsInvalid, "auto_find_batch_size is True"),
        (argument("ignore_data_skip", True), unbroken.SettingsInvalid, "ignore_data_skip is True"),
        (argument("push_to_hub", True), unbroken.SettingsInvalid, "push_to_hub is True"),
        (argument("output_dir", ""), unbroken.SettingsInvalid, "have no output_dir"),
        (two_devices, unbroken.SettingsInvalid, "2 devices train in one process"),
        (stream, unbroken.SettingsInvalid, "a Stream, has no index"),
        (trained_already, unbroken.RunMisused, "trained 3 steps already"),
    ],
)  # fmt: skip
def test_it_is_refused(spoil: Any, error: type[Exception], told: str, tmp_path: Path) -> None:
    """With what was found, why it matters, and what to do."""
    trainer = trainer_of(tmp_path / "run")
    spoil(trainer)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=told):
        protect(trainer)
    assert before == sorted(tmp_path.rglob("*"))
    assert type(trainer) is transformers.Trainer


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the variable that a launcher sets."""
    trainer = trainer_of(tmp_path / "run")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(unbroken.SettingsInvalid, match="2 processes train"):
        protect(trainer)


def test_a_second_protect_is_refused(tmp_path: Path) -> None:
    """Each step would be counted twice."""
    trainer = protect(trainer_of(tmp_path / "run"))
    with pytest.raises(unbroken.RunMisused, match="a second time"):
        protect(trainer)
    assert [] == [each for each in tmp_path.rglob("*") if each.is_file()]


def test_a_part_with_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    """Something of the trainer's has it."""
    with pytest.raises(unbroken.SettingsInvalid, match=r"has model, trainer\."):
        protect(trainer_of(tmp_path), parts={"model": None, "trainer": None, "other": None})


def test_something_else_is_refused() -> None:
    """What is no Trainer has not its methods."""
    with pytest.raises(unbroken.SettingsInvalid, match="was given a Linear"):
        protect(torch.nn.Linear(1, 1))


def test_a_search_and_a_second_training_are_refused(tmp_path: Path) -> None:
    """A protected trainer resumes one training."""
    trainer = protect(trainer_of(tmp_path / "run", max_steps=1))
    with pytest.raises(unbroken.RunMisused, match="with a trial"):
        trainer.train(trial={"learning_rate": 1.0})
    trainer.train()
    with pytest.raises(unbroken.RunMisused, match="a second time"):
        trainer.train()


def test_a_folder_that_the_run_does_not_know_is_refused(tmp_path: Path) -> None:
    """Its state is not all that a training goes on from."""
    trainer = protect(trainer_of(tmp_path / "run"))
    with pytest.raises(unbroken.NoUsableCheckpoint, match="has no checkpoint of the step"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))


@pytest.mark.parametrize("version", ["4.57.6", "5.0.0", "5.99.0", "6.0.0", "strange"])
def test_a_version_that_was_not_tried_is_refused(version: str) -> None:
    """By its number, with those that were."""
    with pytest.raises(unbroken.SettingsInvalid, match=f"transformers {version} is not supported"):
        require_supported(version, transformers.Trainer)


@pytest.mark.parametrize("name", [each.name for each in METHODS])
def test_a_trainer_that_lacks_a_method_is_refused(name: str) -> None:
    """By the name of the method."""
    lacking = type("Trainer", (), {e.name: getattr(transformers.Trainer, e.name) for e in METHODS})
    delattr(lacking, name)
    with pytest.raises(unbroken.SettingsInvalid, match=rf"has no {name}\(\)"):
        require_supported(transformers.__version__, lacking)


def test_a_method_with_other_arguments_is_refused() -> None:
    """By the argument that is missing."""

    class Other(transformers.Trainer):  # type: ignore[misc]  # transformers has no types here
        def _run_epoch(self, model: Any) -> None:
            """Take another argument."""

    with pytest.raises(unbroken.SettingsInvalid, match=r"_run_epoch\(\) takes no epoch"):
        require_supported(transformers.__version__, Other)


def test_an_argument_decides_the_training_unless_the_table_says_otherwise(tmp_path: Path) -> None:
    """All fields of TrainingArguments are in one of two sets, and the table names none that isn't there."""
    args = trainer_of(tmp_path).args
    must, free = settings_of(args)
    fields = set(args.__dataclass_fields__)
    assert fields - {"hub_token"} == must.keys() | free.keys()
    assert not must.keys() & MAY_CHANGE.keys()
    assert {"learning_rate", "seed", "per_device_train_batch_size", "optim"} <= must.keys()
