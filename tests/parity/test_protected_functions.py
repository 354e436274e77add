"""A function that trains is left as it is, stopped and started again: it is the same training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import unbroken


class Moved(Dataset[torch.Tensor]):
    """Samples that are another each time, by three kinds of generators."""

    def __init__(self, count: int) -> None:
        self.data = torch.linspace(-1, 1, count * 4).view(count, 4)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> torch.Tensor:
        moved = self.data[index] + 0.1 * torch.randn(4)
        # as programs draw
        return moved + 0.1 * float(np.random.rand()) + 0.1 * random.random()  # noqa: NPY002, S311


class Killed(BaseException):
    """Ends a start at some update, as SIGKILL would: nothing is saved on the way."""


class Kill:
    """Raises `Killed` at a call; the programs call it once a batch."""

    def __init__(self) -> None:
        self.at = 0
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise Killed


KILL = Kill()


def small() -> nn.Module:
    """Return a model that draws."""
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))


def plain() -> list[nn.Module]:
    """Train with accumulation, a schedule by epochs, an average and a validation."""
    torch.manual_seed(0)
    model = small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    average = torch.optim.swa_utils.AveragedModel(model)
    train_loader = DataLoader(Moved(40), batch_size=8, shuffle=True)
    val_loader = DataLoader(Moved(16), batch_size=8)
    for _ in range(4):
        model.train()
        for i, batch in enumerate(train_loader):
            model(batch + 0.1 * torch.randn_like(batch)).square().mean().backward()
            if i % 2:
                optimizer.step()
                optimizer.zero_grad()
                average.update_parameters(model)
            KILL()
        model.eval()
        with torch.no_grad():
            scheduler.step(sum(model(each).square().mean().item() for each in val_loader))
    return [model, average]


def _train(model: nn.Module, train_loader: Any, optimizer: Any, epoch: int) -> None:
    model.train()
    for number, (x,) in enumerate(train_loader):
        optimizer.zero_grad()
        ((number + epoch) * model(x).square().mean()).backward()
        optimizer.step()
        KILL()


def with_helpers() -> list[nn.Module]:
    """Train in a function that is called once an epoch, as the MNIST example does."""
    torch.manual_seed(0)
    model = small()
    data = TensorDataset(torch.randn(40, 4))
    loaders = {"train": DataLoader(data, 8, shuffle=True), "test": DataLoader(data, 8)}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(1, 5):
        _train(model, loaders["train"], optimizer, epoch)
        model.eval()
        with torch.no_grad():
            for (x,) in loaders["test"]:
                model(x)
    return [model]


def in_phases() -> list[nn.Module]:
    """Train and validate in one loop over phases, as the tutorial on transfer learning does."""
    torch.manual_seed(0)
    model = small()
    data = TensorDataset(torch.randn(40, 4))
    loaders = {phase: DataLoader(data, 8, shuffle=True) for phase in ("train", "val")}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(4):
        for phase in ("train", "val"):
            model.train(phase == "train")
            for (x,) in loaders[phase]:
                with torch.set_grad_enabled(phase == "train"):
                    loss = model(x).square().mean()
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                        optimizer.zero_grad()
                        KILL()
    return [model]


def two_models() -> list[nn.Module]:
    """Train two models by two optimizers, after a look at a batch."""
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(40, 4)), 8, shuffle=True)
    critic, generator = small(), nn.Linear(4, 4)
    next(iter(loader))
    by_critic = torch.optim.Adam(critic.parameters(), lr=0.01)
    by_generator = torch.optim.SGD(generator.parameters(), lr=0.01)
    for _ in range(4):
        for i, (x,) in enumerate(loader, start=1):
            (critic(x) - critic(generator(torch.randn_like(x)).detach())).mean().backward()
            by_critic.step()
            critic.zero_grad()
            if i % 2 == 0:
                critic(generator(torch.randn_like(x))).mean().backward()
                by_generator.step()
                generator.zero_grad()
            KILL()
    return [critic, generator]


def one_pass() -> list[nn.Module]:
    """Train on the batches of one pass, and leave it early."""
    torch.manual_seed(0)
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(torch.randn(240, 4)), 8, shuffle=True)
    for step, (x,) in enumerate(loader):
        if step >= 20:
            break
        ((step + 1) * model(x).square().mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
        KILL()
    return [model]


def drawn_by_itself() -> list[nn.Module]:
    """Train on batches that the loop draws, as nanoGPT does."""
    torch.manual_seed(0)
    text = torch.randn(100, 4)
    model = small()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(20):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 10)
        model(text[torch.randint(100, (8,))]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        KILL()
    return [model]


class Fit:
    """A trainer of one's own, with names of its own."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = small()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.loader = DataLoader(Moved(40), 8, shuffle=True)
        self.values = unbroken.Values(best=1e9, waited=0)
        self.__epochs = 4

    def _pass(self) -> float:
        losses: list[float] = []
        for batch in self.loader:
            loss = self.model(batch).square().mean()
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(loss.item())
            KILL()
        return sum(losses)

    def fit(self) -> list[nn.Module]:
        """Train."""
        for _ in range(self.__epochs):
            self.values.best = min(self.values.best, self._pass())
        return [self.model]


def by_method() -> list[nn.Module]:
    """Train in a method; what decides is in `unbroken.Values`."""
    return Fit().fit()


PROGRAMS: list[Callable[[], list[nn.Module]]] = [
    plain,
    with_helpers,
    in_phases,
    two_models,
    one_pass,
    drawn_by_itself,
]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    iterates = vars(DataLoader)["__iter__"]
    yield
    assert vars(DataLoader)["__iter__"] is iterates
    assert enumerate.__module__ == "builtins"
    assert enumerate.__name__ == "enumerate"


def weights(models: list[nn.Module]) -> list[float]:
    """Return all numbers of some models."""
    return [each.item() for one in models for p in one.parameters() for each in p.flatten()]


def start(
    program: Callable[[], list[nn.Module]], directory: Path, at: int = 0
) -> list[float] | None:
    """Run a program under protection; return its weights, or None where it was killed."""
    KILL.at, KILL.calls = at, 0
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002  # as programs do
    try:
        return weights(unbroken.protect(directory, save_every=3)(program)())
    except Killed:
        return None


@pytest.mark.parametrize("program", PROGRAMS)
def test_killed_and_started_again_it_is_the_same_training(
    program: Callable[[], list[nn.Module]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed before the first save, inside an epoch, right after a save, and in a later epoch."""
    caplog.set_level("INFO", "unbroken")
    whole = start(program, tmp_path / "whole")
    for at in (2, 5, 2, 9):
        assert start(program, tmp_path / "killed", at) is None
    assert start(program, tmp_path / "killed") == whole
    assert "EXACT" in caplog.text
    assert "DIVERGED" not in caplog.text


def test_a_method_that_trains_is_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Private names stay those of its class, and `Values` are restored."""
    caplog.set_level("INFO", "unbroken")
    fit = Fit.fit

    def begin(directory: Path, at: int = 0) -> list[float] | None:
        monkeypatch.setattr(Fit, "fit", unbroken.protect(directory, save_every=3)(fit))
        KILL.at, KILL.calls = at, 0
        try:
            return weights(by_method())
        except Killed:
            return None

    whole = begin(tmp_path / "whole")
    for at in (2, 7, 5):
        assert begin(tmp_path / "killed", at) is None
    assert begin(tmp_path / "killed") == whole
    assert "values" in caplog.text
    assert "self.best" not in caplog.text
