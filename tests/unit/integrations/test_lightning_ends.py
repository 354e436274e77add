"""How a protected fit ends, and what the next start makes of it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

import lightning.pytorch as lightning

import unbroken
from support import lightning_fits as fits
from support import lightning_kinds as kinds
from support.sameness import same

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about small programs


def test_a_stop_signal_is_honoured_between_batches(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After SIGTERM the fit saves and raises `Stopped` with code 75; the next start is proved exact."""
    whole = fits.fit("automatic", tmp_path / "whole")
    with pytest.raises(unbroken.Stopped, match="SIGTERM") as stopped:
        fits.fit("automatic", tmp_path / "stopped", ("training", 6, signal.SIGTERM))
    assert 75 == stopped.value.exit_code
    with caplog.at_level("INFO", "unbroken"):
        found = fits.fit("automatic", tmp_path / "stopped")
    assert "EXACT (2/2 steps" in caplog.text
    assert [] == [key for key in whole if not same(whole[key], found[key])]


def test_a_stop_file_is_honoured(tmp_path: Path) -> None:
    """A stop file, given to `protect`, stops the fit as a signal does."""
    (tmp_path / "stop").touch()
    with pytest.raises(unbroken.Stopped, match="the file"):
        fits.fit("automatic", tmp_path, settings={"stop_file": tmp_path / "stop"})


class Ending(lightning.Callback):  # type: ignore[misc]  # its types are not read
    """Acts when training ends, as an export does."""

    def __init__(self) -> None:
        self.ended = 0

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.ended += 1
        with torch.no_grad():
            pl_module.net[0].weight.zero_()


def test_a_fit_that_is_over_does_its_end_anew(tmp_path: Path) -> None:
    """A start after the end trains nothing, and does what is done at the end: it may have been cut off."""
    whole = fits.fit("automatic", tmp_path, callbacks=[Ending()])
    ending = Ending()
    found = fits.fit("automatic", tmp_path, callbacks=[ending])
    assert 1 == ending.ended
    assert [] == [key for key in whole if not same(whole[key], found[key])]


@pytest.mark.slow
def test_a_fit_that_is_over_goes_on_to_more_epochs(tmp_path: Path) -> None:
    """With more epochs a finished fit goes on to what a longer one comes to."""
    longer = fits.fit("automatic", tmp_path / "longer", max_epochs=4)
    fits.fit("automatic", tmp_path / "parts", max_epochs=2)
    found = fits.fit("automatic", tmp_path / "parts", max_epochs=4)
    assert [] == [key for key in longer if not same(longer[key], found[key])]


class Skipping(kinds.Fitted):
    """Leaves each epoch after three batches."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == 3 else None


@pytest.mark.slow
def test_an_epoch_that_is_left_early_is_left_early_again(tmp_path: Path) -> None:
    """A module that ends its epochs by itself is resumed in the epoch, and at the batch, where it was."""
    weights = []
    for name, cuts in (("whole", [None]), ("cut", [("training", 5, kinds.CutError), None])):
        for cut in cuts:
            trainer, _ = fits.made("automatic", tmp_path / name, settings={"save_every": 1})
            module = Skipping(cut=cut)
            try:
                trainer.fit(module, **kinds.KINDS["automatic"].loaders())
            except kinds.CutError:
                continue
            weights.append(dict(module.state_dict()))
    assert same(*weights)


@pytest.mark.slow
def test_validation_changes_nothing_in_the_training(tmp_path: Path) -> None:
    """However often it is validated, with random numbers, the training has the same weights."""
    seldom = fits.fit("automatic", tmp_path / "seldom")
    often = fits.fit("automatic", tmp_path / "often", val_check_interval=1)
    never = fits.fit("automatic", tmp_path / "never", limit_val_batches=0, callbacks=[])
    assert same(seldom["weights"], often["weights"])
    assert same(seldom["weights"], never["weights"])


def test_the_loader_of_the_program_is_seen_through_ours(tmp_path: Path) -> None:
    """What a program asks of `trainer.train_dataloader` is answered by its own loader."""
    trainer, module = fits.made("automatic", tmp_path, max_epochs=1)
    loaders = kinds.KINDS["automatic"].loaders()
    trainer.fit(module, **loaders)
    assert loaders["train_dataloaders"].dataset is trainer.train_dataloader.dataset
    assert 6 == len(trainer.train_dataloader) == trainer.num_training_batches
