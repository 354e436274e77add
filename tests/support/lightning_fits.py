"""Small Lightning programs of every kind, which can be cut off anywhere."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchmetrics import MeanMetric

from unbroken.integrations.lightning import protect

SAMPLES = 24
EPOCHS = 3


class CutError(Exception):
    """Ends a fit as a crash of the program does."""


class Augmented(Dataset[torch.Tensor]):
    """Draws for each sample."""

    def __init__(self, count: int = SAMPLES) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(index)
        return torch.randn(4, generator=generator) + 0.1 * torch.randn(4)


class Lines(IterableDataset[torch.Tensor]):
    """A stream, which draws."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        for index in range(SAMPLES):
            yield Augmented()[index]


class Fitted(lightning.LightningModule):  # type: ignore[misc]  # its types are not read
    """A module that is cut off where it is told to be.

    Args:
        rate: Of its optimiser.
        cut: `(training|validation, number of the call, how)`.
    """

    def __init__(self, rate: float = 1e-2, cut: tuple[str, int, Any] | None = None) -> None:
        super().__init__()
        self.save_hyperparameters("rate")
        self.net = nn.Sequential(
            nn.Linear(4, 8), nn.Dropout(0.2), nn.BatchNorm1d(8), nn.Linear(8, 1)
        )
        self.seen = MeanMetric()
        self.cut = cut
        self.calls = {"training": 0, "validation": 0}  # told as unsaved, rightly

    def at(self, place: str) -> None:
        """Be cut off here, if it is here."""
        self.calls[place] += 1
        if self.cut is not None and self.cut[:2] == (place, self.calls[place]):
            how = self.cut[2]
            if how is CutError:
                raise CutError
            os.kill(os.getpid(), how)

    def loss(self, batch: Any) -> torch.Tensor:
        """Return a loss, with noise."""
        noisy: torch.Tensor = self.net(batch) + 0.1 * torch.randn(1)
        return noisy.square().mean()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.seen(loss.detach())
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        self.log("highest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        self.log("seen", self.seen, on_step=False, on_epoch=True)
        self.at("training")
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))
        self.at("validation")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["rate"])
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)]


class Waiting(Fitted):
    """Has a schedule that waits for the score of the validation."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"},
        }


class Manual(Fitted):
    """Goes backward and updates itself, with two optimisers."""

    def __init__(self, rate: float = 1e-2, cut: tuple[str, int, Any] | None = None) -> None:
        super().__init__(rate, cut)
        self.automatic_optimization = False
        self.other = nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        for optimizer, made in ((first, self.net), (second, self.other)):
            self.toggle_optimizer(optimizer)
            loss = (made(batch) + torch.randn(1)).square().mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.log(f"loss of {id(made) == id(self.net)}", loss)
            self.untoggle_optimizer(optimizer)
        if batch_idx % 2:
            self.lr_schedulers().step()
        self.at("training")

    def configure_optimizers(self) -> Any:
        first = torch.optim.Adam(self.net.parameters(), lr=1e-2)
        second = torch.optim.SGD(self.other.parameters(), lr=1e-2, momentum=0.9)
        return [first, second], [torch.optim.lr_scheduler.ExponentialLR(first, 0.9)]


class Several(Fitted):
    """Trains on several loaders at once."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        parts = [each for each in batch.values() if each is not None]
        return super().training_step(torch.cat(parts), batch_idx)


class Steady(lightning.Callback):  # type: ignore[misc]  # likewise
    """Keeps a sum in the checkpoint by Lightning's own hooks."""

    def __init__(self) -> None:
        self.total = torch.zeros(2)

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        self.total = self.total + trainer.lightning_module.net[0].weight.detach().flatten()[:2]

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["steady"] = self.total

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self.total = checkpoint["steady"]


def shuffled(count: int = SAMPLES, size: int = 4, workers: int = 0) -> Any:
    """Return a loader that shuffles."""
    return DataLoader(Augmented(count), batch_size=size, shuffle=True, num_workers=workers)


def averaging() -> list[Any]:
    """Return an average of the weights, where this version of Lightning has one."""
    found = getattr(lightning.callbacks, "EMAWeightAveraging", None)
    return [] if found is None else [found(decay=0.8)]


class Kind:
    """One kind of program.

    Args:
        module: Its class.
        train: Makes its training loaders.
        callbacks: Makes its callbacks, beside those of all.
        trainer: Further arguments of its trainer.
    """

    def __init__(
        self,
        module: type[Fitted] = Fitted,
        train: Callable[[], Any] = shuffled,
        callbacks: Callable[[], list[Any]] = list,
        **trainer: Any,
    ) -> None:
        self.module = module
        self.train = train
        self.callbacks = callbacks
        self.trainer = {"max_epochs": EPOCHS, **trainer}


KINDS: Mapping[str, Kind] = {
    "automatic": Kind(),
    "accumulating": Kind(accumulate_grad_batches=4, gradient_clip_val=0.5),
    "manual": Kind(Manual),
    "waiting": Kind(
        Waiting, callbacks=lambda: [EarlyStopping("val_loss", patience=0)], max_epochs=6
    ),
    "averaging": Kind(callbacks=lambda: [*averaging(), Steady()]),
    "validating often": Kind(
        val_check_interval=2,
        callbacks=lambda: [EarlyStopping("highest", check_on_train_epoch_end=True)],
    ),
    "by steps": Kind(max_epochs=-1, max_steps=13, limit_train_batches=5),
    "cycling": Kind(
        Several,
        lambda: CombinedLoader({"a": shuffled(), "b": shuffled(9)}, "max_size_cycle"),
    ),
    "until the longest ends": Kind(
        Several, lambda: CombinedLoader({"a": shuffled(), "b": shuffled(9)}, "max_size")
    ),
    "until the shortest ends": Kind(
        Several, lambda: CombinedLoader({"a": shuffled(), "b": shuffled(16)}, "min_size")
    ),
    "plain collection": Kind(Several, lambda: {"a": shuffled(), "b": shuffled(12)}),
    "stream": Kind(train=lambda: DataLoader(Lines(), batch_size=4), limit_train_batches=5),
    "workers": Kind(train=lambda: shuffled(workers=1), max_epochs=2),
}


def made(
    kind: str,
    directory: Path,
    cut: tuple[str, int, Any] | None = None,
    *,
    rate: float = 1e-2,
    seed: int = 7,
    is_protected: bool = True,
    callbacks: Sequence[Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **trainer: Any,
) -> tuple[Any, Any]:
    """Return the trainer and the module of a program."""
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel("ERROR")
    lightning.seed_everything(seed, verbose=False)
    chosen = KINDS[kind]
    others = chosen.callbacks() if callbacks is None else callbacks
    module = chosen.module(rate, cut)
    saving = ModelCheckpoint(
        dirpath=directory / "files", monitor="val_loss", save_top_k=2, save_last=True
    )
    found = lightning.Trainer(
        default_root_dir=directory, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[saving, *others],
        **{**chosen.trainer, **trainer},
    )  # fmt: skip
    if is_protected:
        protect(found, **{"save_every": 4, **(settings or {})})
    return found, module


def loaders(kind: str) -> dict[str, Any]:
    """Return the loaders of a program."""
    return {
        "train_dataloaders": KINDS[kind].train(),
        "val_dataloaders": DataLoader(Augmented(8), batch_size=4, shuffle=True),
    }


def fit(
    kind: str,
    directory: Path,
    cut: tuple[str, int, Any] | None = None,
    *,
    train: Any = None,
    **given: Any,
) -> Any:
    """Run a program; return all that it came to."""
    trainer, module = made(kind, directory, cut, **given)
    found = loaders(kind)
    trainer.fit(module, **(found if train is None else {**found, "train_dataloaders": train}))
    return outcome(trainer, module, directory)


def outcome(trainer: Any, module: Any, directory: Path) -> dict[str, Any]:
    """Return all that a fit came to."""
    callbacks = [each for each in trainer.callbacks if type(each).__name__ != "Protection"]
    root = str(directory)
    return {
        "weights": dict(module.state_dict()),
        "moments": [each.state_dict() for each in trainer.optimizers],
        "schedules": [each.scheduler.state_dict() for each in trainer.lr_scheduler_configs],
        "metrics": dict(trainer.callback_metrics),
        "callbacks": [_moved(each.state_dict(), root) for each in callbacks],
        "sums": [each.total for each in callbacks if isinstance(each, Steady)],
        "counters": _without_places(trainer.fit_loop.state_dict()),
        "step": trainer.global_step,
        "files": sorted(each.name for each in (directory / "files").iterdir()),
    }


def _moved(state: Any, root: str) -> Any:
    """Return a callback's state with its paths as if the program had another directory."""
    if isinstance(state, dict):
        return {_moved(key, root): _moved(each, root) for key, each in state.items()}
    return str(state).replace(root, "") if isinstance(state, str | Path) else state


def _without_places(state: dict[str, Any]) -> dict[str, Any]:
    """Leave out what Lightning counts of a validation before the first step."""
    return {key: each for key, each in state.items() if "val_loop" not in key}


def child(kind: str, directory: Path, cut: Any, result: Path | None, options: Any) -> None:
    """Run a program as a process of its own; write what it came to."""
    log = logging.getLogger("unbroken")
    log.addHandler(logging.FileHandler(directory.with_suffix(".log")))
    log.setLevel("INFO")
    found = fit(kind, directory, cut, **options)
    if result is not None:
        torch.save(found, result)


SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)
