"""Lightning modules, data and callbacks of every kind, which can be cut off anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    EarlyStopping,
    GradientAccumulationScheduler,
)
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchmetrics import MeanMetric

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


def shuffled(
    count: int = SAMPLES, size: int = 4, workers: int = 0, *, persistent: bool = False
) -> Any:
    """Return a loader that shuffles."""
    data = Augmented(count)
    return DataLoader(data, size, shuffle=True, num_workers=workers, persistent_workers=persistent)


def averaging() -> list[Any]:
    """Return an average of the weights, where this version of Lightning has one."""
    found = getattr(lightning.callbacks, "EMAWeightAveraging", None)
    return [] if found is None else [found(decay=0.8)]


def scaling() -> list[Any]:
    """Return a precision with a gradient scaler, whose first scales are too large."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=5)
    return [MixedPrecision("16-mixed", "cpu", scaler)]


class OneCycle(Fitted):
    """Asks the trainer how many steps there will be."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
        steps = int(self.trainer.estimated_stepping_batches)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class Tuned(Fitted):
    """Has a backbone that is trained later."""

    def __init__(self, rate: float = 1e-2, cut: tuple[str, int, Any] | None = None) -> None:
        super().__init__(rate, cut)
        self.backbone = nn.Linear(4, 4)

    def loss(self, batch: Any) -> torch.Tensor:
        return super().loss(self.backbone(batch))

    def configure_optimizers(self) -> Any:
        trained = [each for each in self.parameters() if each.requires_grad]
        return torch.optim.Adam(trained, lr=1e-2)


class Searching(Fitted):
    """Evaluates its loss several times for an update."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


class Gathering(Fitted):
    """Keeps its losses in a list, and in the checkpoint by Lightning's own hooks."""

    def __init__(self, rate: float = 1e-2, cut: tuple[str, int, Any] | None = None) -> None:
        super().__init__(rate, cut)
        self.losses: list[float] = []

    def on_train_epoch_start(self) -> None:
        self.losses = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.losses.append(float(loss))
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("sum", sum(self.losses))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["losses"] = list(self.losses)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.losses = list(checkpoint["losses"])


class Module(lightning.LightningDataModule):  # type: ignore[misc]  # likewise
    """Counts its batches, and draws for each."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def train_dataloader(self) -> Any:
        return shuffled()

    def val_dataloader(self) -> Any:
        return [shuffled(8)]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.count += 1
        return batch + 0.1 * torch.randn_like(batch)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count = state_dict["count"]


class Kind:
    """One kind of program.

    Args:
        module: Its class.
        train: Makes its training loaders.
        callbacks: Makes its callbacks, beside those of all.
        plugins: Makes its plugins.
        trainer: Further arguments of its trainer.
    """

    def __init__(
        self,
        module: type[Fitted] = Fitted,
        train: Callable[[], Any] = shuffled,
        callbacks: Callable[[], list[Any]] = list,
        plugins: Callable[[], list[Any]] = list,
        **trainer: Any,
    ) -> None:
        self.plugins = plugins
        self.module = module
        self.train = train
        self.callbacks = callbacks
        self.trainer = {"max_epochs": EPOCHS, **trainer}

    def loaders(self) -> dict[str, Any]:
        """Return its loaders, as `fit` takes them."""
        train = self.train()
        if isinstance(train, Module):
            return {"datamodule": train}
        validated = DataLoader(Augmented(8), batch_size=4, shuffle=True)
        return {"train_dataloaders": train, "val_dataloaders": validated}


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
    "lasting workers": Kind(train=lambda: shuffled(workers=1, persistent=True)),
    "one cycle": Kind(OneCycle),
    "finetuning": Kind(Tuned, callbacks=lambda: [BackboneFinetuning(unfreeze_backbone_at_epoch=1)]),
    "searching": Kind(Searching),
    "gathering": Kind(Gathering),
    "data module": Kind(train=Module),
    "accumulating more later": Kind(
        callbacks=lambda: [GradientAccumulationScheduler({0: 1, 1: 4})]
    ),
    "half precision": Kind(precision="bf16-mixed"),
    "scaled": Kind(plugins=scaling),
}
