"""What a protected fit refuses, by name, and what it leaves untouched where it does."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

pytest.importorskip("lightning")

import lightning.pytorch as lightning
from lightning.pytorch.callbacks import EarlyStopping, LearningRateFinder, StochasticWeightAveraging
from torch.utils.data import DataLoader

import unbroken
from support import lightning_fits as fits
from support import lightning_kinds as kinds
from unbroken.integrations.lightning import private_names, protect

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about small programs


def files_of(directory: Path) -> dict[str, str]:
    """Return a digest of each file, but for the history, which tells of refusals."""
    return {
        str(each.relative_to(directory)): hashlib.sha256(each.read_bytes()).hexdigest()
        for each in sorted(directory.rglob("*"))
        if each.is_file() and each.name != "history.jsonl"
    }


class Other(kinds.Augmented):
    """Has other samples under the same numbers."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return super().__getitem__(index) + 1


class Kept:
    """A part of the program's own."""

    def state_dict(self) -> dict[str, Any]:
        return {"sum": 1.0}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert state == {"sum": 1.0}


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a fit that was cut off after its second checkpoint."""
    directory = tmp_path_factory.mktemp("fit")
    stopping = [EarlyStopping("val_loss", patience=9)]
    with pytest.raises(kinds.CutError):
        fits.fit(
            "automatic", directory, ("training", 11, kinds.CutError), callbacks=stopping,
            settings={"parts": {"kept": Kept()}},
        )  # fmt: skip
    return directory


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "another seed": ({"seed": 8}, "seed_everything"),
    "another size of batches": ({"train": kinds.shuffled(size=6)}, "batches_per_epoch|batch"),
    "other samples": (
        {"train": DataLoader(Other(), batch_size=4, shuffle=True)}, "last batch|batch.*identical|content",
    ),
    "fewer samples": ({"train": kinds.shuffled(23)}, "samples"),
    "no shuffling": ({"train": DataLoader(kinds.Augmented(), batch_size=4)}, "sampler"),
    "more accumulation": ({"accumulate_grad_batches": 2}, "accumulate_grad_batches"),
    "fewer batches an epoch": ({"limit_train_batches": 5}, "batches_per_epoch"),
    "a forgotten callback": ({"callbacks": []}, "EarlyStopping"),
    "a forgotten part": ({"settings": {}}, "kept"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_change_is_refused_by_name_before_a_step(cut: Path, fault: str) -> None:
    """A start that would make another training is refused, says what differs, and changes no file."""
    given, named = FAULTS[fault]
    before = files_of(cut)
    settings = {
        "callbacks": [EarlyStopping("val_loss", patience=9)],
        "settings": {"parts": {"kept": Kept()}},
        **given,
    }
    with pytest.raises((unbroken.ResumeRefused, unbroken.StateMismatch), match=named):
        fits.fit("automatic", cut, **settings)
    assert before == files_of(cut)


@pytest.mark.slow
def test_another_rate_is_refused(tmp_path: Path) -> None:
    """The schedule derives from it; both values are told."""
    with pytest.raises(kinds.CutError):
        fits.fit("automatic", tmp_path, ("training", 11, kinds.CutError))
    with pytest.raises(unbroken.ResumeRefused) as error:
        fits.fit("automatic", tmp_path, rate=0.1)
    assert "LR mismatch" in str(error.value)
    assert "scheduler.base_lrs.0: is 0.1, was 0.01" in str(error.value)


def trainer(directory: Path, **given: Any) -> Any:
    """Return a trainer that says nothing."""
    return lightning.Trainer(
        default_root_dir=directory, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, max_epochs=1, **given,
    )  # fmt: skip


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "two devices": ({"devices": 2}, "2 devices on 1 nodes"),
    "overfitting": ({"overfit_batches": 1}, "overfit_batches=1"),
    "reloading": ({"reload_dataloaders_every_n_epochs": 1}, "reload_dataloaders_every_n_epochs=1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_trainer_that_cannot_be_resumed_is_refused(tmp_path: Path, case: str) -> None:
    """`protect` refuses a trainer whose training it could protect in part only, and writes nothing."""
    given, named = BAD[case]
    with pytest.raises(unbroken.SettingsInvalid, match=named):
        protect(trainer(tmp_path, **given))
    assert [] == list(tmp_path.iterdir())


def test_a_trainer_is_protected_once(tmp_path: Path) -> None:
    """A second `protect` on one trainer is refused."""
    found = trainer(tmp_path)
    protect(found)
    with pytest.raises(unbroken.RunMisused, match="twice"):
        protect(found)


def test_a_trainer_that_has_fitted_is_refused(tmp_path: Path) -> None:
    """A trainer that has trained already is refused, protected or not."""
    found = trainer(tmp_path, limit_val_batches=0)
    found.fit(kinds.Fitted(), kinds.shuffled())
    with pytest.raises(unbroken.RunMisused, match="has run fit"):
        protect(found)


def test_a_protected_trainer_fits_once(tmp_path: Path) -> None:
    """A second fit of a protected trainer is refused before it trains."""
    found = trainer(tmp_path, limit_val_batches=0)
    protect(found)
    found.fit(kinds.Fitted(), kinds.shuffled())
    with pytest.raises(unbroken.RunMisused, match="a second time"):
        found.fit(kinds.Fitted(), kinds.shuffled())


def test_where_lightning_is_missing_it_is_named() -> None:
    """Without Lightning, `protect` says what to install."""
    with (
        patch.dict(sys.modules, {"lightning.pytorch": None}),
        pytest.raises(unbroken.SettingsInvalid, match=r"unbroken\[lightning\]"),
    ):
        protect("trainer")


def test_what_is_no_trainer_is_refused() -> None:
    """Something else than a trainer of `lightning.pytorch` is refused by its class."""
    with pytest.raises(unbroken.SettingsInvalid, match=r"builtins\.str"):
        protect("trainer")


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    """A setting that nobody knows is refused by its name."""
    with pytest.raises(unbroken.SettingsInvalid, match="save_evry"):
        protect(trainer(tmp_path), save_evry=3)


@pytest.mark.parametrize("name", ["callbacks", "optimizer1", "seed"])
def test_a_part_under_a_name_that_is_taken_is_refused(tmp_path: Path, name: str) -> None:
    """A part of the program's own can't have the name of one that the trainer has."""
    with pytest.raises(unbroken.SettingsInvalid, match=name):
        protect(trainer(tmp_path), parts={name: Kept()})


class Reading(kinds.Fitted):
    """Reads its batches itself."""

    def training_step(self, dataloader_iter: Any) -> Any:  # type: ignore[override]  # Lightning's way
        return super().training_step(next(dataloader_iter)[0], 0)


class Stream(kinds.Lines):
    """Has no length."""


FITS: dict[str, tuple[Callable[[], Any], Callable[[], Any], dict[str, Any], list[Any], str]] = {
    "a checkpoint of Lightning": (
        kinds.Fitted, kinds.shuffled, {"ckpt_path": "given"}, [], "ckpt_path|checkpoint"),
    "a step that reads": (Reading, kinds.shuffled, {}, [], "dataloader_iter"),
    "a stream without an end": (
        kinds.Fitted, lambda: DataLoader(Stream(), batch_size=4), {}, [], "DataLoader has no length"),
    "stochastic weight averaging": (
        kinds.Fitted, kinds.shuffled, {}, [StochasticWeightAveraging(0.1)], "StochasticWeightAveraging"),
    "a search for the rate": (
        kinds.Fitted, kinds.shuffled, {}, [LearningRateFinder()], "LearningRateFinder"),
}  # fmt: skip


@pytest.mark.parametrize("case", FITS)
def test_a_fit_that_cannot_be_resumed_is_refused(tmp_path: Path, case: str) -> None:
    """A fit that restores or reads by itself, or of which nobody knows where it stands, is refused."""
    module, train, given, callbacks, named = FITS[case]
    found = trainer(tmp_path, limit_val_batches=0, callbacks=callbacks)
    if "ckpt_path" in given:
        other = trainer(tmp_path / "other", limit_val_batches=0)
        other.fit(kinds.Fitted(), kinds.shuffled())
        other.save_checkpoint(tmp_path / "other" / "some.ckpt")
        given = {"ckpt_path": tmp_path / "other" / "some.ckpt"}
    protect(found, tmp_path / "run")
    with pytest.raises(unbroken.SettingsInvalid, match=named):
        found.fit(module(), train(), **given)
    assert not (tmp_path / "run").exists()


def test_every_private_name_is_there(tmp_path: Path) -> None:
    """This version of Lightning has every name of the table."""
    assert [] == private_names.missing_names(trainer(tmp_path))


def test_a_trainer_that_ends_by_steps_is_supported(tmp_path: Path) -> None:
    """Without `max_epochs`, `fit_loop.done` raises before a fit; it is not asked."""
    by_steps = lightning.Trainer(max_steps=3, default_root_dir=tmp_path, logger=False)
    assert [] == private_names.missing_names(by_steps)


def test_the_page_has_every_private_name() -> None:
    """The table of private names on the page is that of the code."""
    page = Path(__file__).parents[3] / "docs" / "frameworks.md"
    text = page.read_text(encoding="utf-8")
    tables = (private_names.OF_TRAINER, private_names.OF_MODULES, private_names.OF_OBJECTS)
    names = [each for table in tables for found in table.values() for each in found]
    assert [] == [each for each in [*names, private_names.OF_CALLBACKS] if each not in text]
    assert all(version in text for version in private_names.TESTED)


@pytest.mark.parametrize("version", ["1.9.5", "2.4.1", "3.0.0"])
def test_another_version_is_refused(tmp_path: Path, version: str) -> None:
    """A version that isn't supported is refused by its number."""
    with (
        patch.object(lightning, "__version__", version),
        pytest.raises(unbroken.SettingsInvalid, match=version),
    ):
        protect(trainer(tmp_path))


def test_a_version_without_a_name_is_refused(tmp_path: Path) -> None:
    """A version that lacks a private name is refused by that name, and the trainer stays as it was."""
    found = trainer(tmp_path)
    del found.fit_loop._data_source
    callbacks = list(found.callbacks)
    with pytest.raises(unbroken.SettingsInvalid, match=r"trainer\.fit_loop\._data_source"):
        protect(found)
    assert callbacks == found.callbacks


def test_only_the_adapter_imports_lightning() -> None:
    """No other module of the library imports Lightning or its metrics."""
    root = Path(unbroken.__file__).parent
    words = ("import lightning", "from lightning", "import torchmetrics", "from torchmetrics")
    found = [
        path.relative_to(root).parts[:2]
        for path in root.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(words)
    ]
    assert {("integrations", "lightning")} == set(found)


def test_a_trial_run_is_left_alone(tmp_path: Path) -> None:
    """A trainer with `fast_dev_run` is not protected: it is no training."""
    found = trainer(tmp_path, fast_dev_run=True)
    protect(found)
    found.fit(kinds.Fitted(), kinds.shuffled(), kinds.shuffled())
    assert [] == list(tmp_path.iterdir())
