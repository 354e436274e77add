"""Loops over a loader of their own, stopped at every batch and resumed: the training never stopped."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

import unbroken
from unbroken.testing import assert_resume_is_exact

SAMPLES = 14
DATA = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(3))


class Augmented(Dataset[torch.Tensor]):
    """Draws from every global generator, and from one of its own."""

    def __init__(self) -> None:
        self.own = np.random.default_rng(5)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        noise = random.random() + float(np.random.rand()) + float(self.own.random())  # noqa: NPY002, S311
        return DATA[index] + 0.1 * (torch.randn(4) + noise)


class Lines(IterableDataset[torch.Tensor]):
    """A stream, which draws."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        for each in DATA:
            yield each + 0.1 * torch.randn(4)


class StatefulLines:
    """A loader with a state of its own, as torchdata's has."""

    def __init__(self) -> None:
        self.place = 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        while self.place < 4:
            self.place += 1
            yield DATA[3 * self.place - 3 : 3 * self.place]
        self.place = 0

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


class Buckets(Sampler[list[int]]):
    """Batches of several sizes, shuffled by a generator of its own and by the epoch."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(SAMPLES, generator=self.generator).tolist()
        for start in range(self.epoch % 2, SAMPLES, 5):
            yield order[start : start + 5 - start % 2]


class Counting(Sampler[int]):
    """Counts its epochs itself, so that no two lists are alike."""

    def __init__(self) -> None:
        self.epochs = 0

    def __len__(self) -> int:
        return SAMPLES

    def __iter__(self) -> Iterator[int]:
        self.epochs += 1
        yield from (((self.epochs + 2) * each + self.epochs) % SAMPLES for each in range(SAMPLES))


def drawing_collate(samples: list[torch.Tensor]) -> torch.Tensor:
    """Mask at random, as collators for language models do."""
    batch: torch.Tensor = default_collate(samples)
    return batch * (torch.rand(batch.shape) > 0.1)


def stacked(samples: list[tuple[torch.Tensor]]) -> torch.Tensor:
    """Take the tensors out of their tuples."""
    return torch.stack([each for (each,) in samples])


SAMPLE_LIST: Any = list(DATA)
LOADERS: dict[str, Callable[[], Any]] = {
    "shuffled": lambda: DataLoader(Augmented(), batch_size=4, shuffle=True),
    "in order": lambda: DataLoader(TensorDataset(DATA), batch_size=4, collate_fn=stacked),
    "a list of samples": lambda: DataLoader(
        SAMPLE_LIST, batch_size=5, shuffle=True, drop_last=True
    ),
    "weighted": lambda: DataLoader(
        Augmented(), batch_size=4, sampler=WeightedRandomSampler([1.0, 9.0] * 7, 11)
    ),
    "with a generator": lambda: DataLoader(
        Augmented(), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(9)
    ),
    "of one of several ranks": lambda: DataLoader(
        Augmented(), batch_size=4, sampler=DistributedSampler(Augmented(), num_replicas=2, rank=1)
    ),
    "in buckets": lambda: DataLoader(Augmented(), batch_sampler=Buckets()),
    "counting its epochs": lambda: DataLoader(Augmented(), batch_size=4, sampler=Counting()),
    "without batches": lambda: DataLoader(Augmented(), batch_size=None, shuffle=True),
    "collate that draws": lambda: DataLoader(
        Augmented(), batch_size=4, shuffle=True, collate_fn=drawing_collate
    ),
    "a stream": lambda: DataLoader(Lines(), batch_size=4),
    "with a state": StatefulLines,
    "a list of batches": lambda: list(DATA.split(4)),
}


def of(loader: Callable[[], Any]) -> Callable[[Path, int], Any]:
    """Return a training by epochs over a loader, with an average, a plateau and a validation."""

    def train(directory: Path, until: int) -> Any:
        del until
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 1))
        if isinstance(data := loader(), DataLoader) and data.batch_size is None:
            model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.2), nn.Linear(6, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=0.9)
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        run = unbroken.Run(
            directory, data=data, model=model, optimizer=optimizer, scheduler=plateau,
            average=average, save_every=0,
        )  # fmt: skip
        for _ in run.epochs(2):
            factor = 1 + torch.rand(())  # drawn at the top of an epoch
            for batch in run.batches():
                loss = factor * model(batch).square().mean()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                average.update_parameters(model)
            model.eval()
            score = float(average(DATA[:3] + torch.randn(3, 4)).detach().square().mean())
            model.train()
            plateau.step(score)
        run.close()
        return {"model": model, "optimizer": optimizer, "plateau": plateau, "average": average}

    return train


IN_EVERY_RUN = {
    "shuffled",
    "weighted",
    "in buckets",
    "counting its epochs",
    "a stream",
    "with a state",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(each, marks=[] if each in IN_EVERY_RUN else pytest.mark.slow)
        for each in LOADERS
    ],
)
def test_any_loader(name: str) -> None:
    """Whatever says which samples a batch has, and whatever is drawn for them."""
    assert_resume_is_exact(of(LOADERS[name]), 4)


def accumulating(directory: Path, until: int) -> Any:
    """Update every third batch, clip, scale the loss; zero at the top."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
    loader = DataLoader(Augmented(), batch_size=3, shuffle=True)
    run = unbroken.Run(
        directory, data=loader, model=model, optimizer=optimizer, scaler=scaler, save_every=0
    )
    for i, batch in run.enumerate(until):
        if i % 3 == 0:
            optimizer.zero_grad()
        loss = model(batch).square().mean() / 3
        scaler.scale(loss).backward()
        run.log(loss=loss)
        if i % 3 == 2:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    run.close()
    return {"model": model, "optimizer": optimizer, "scaler": scaler}


def gan(directory: Path, until: int) -> Any:
    """Two optimisers, one of them twice a batch, the other every second."""
    torch.manual_seed(0)
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    g = torch.optim.Adam(generator.parameters(), 1e-2)
    c = torch.optim.Adam(critic.parameters(), 1e-2)
    run = unbroken.Run(
        directory,
        data=DataLoader(Augmented(), batch_size=4, shuffle=True),
        model={"generator": generator, "critic": critic},
        optimizer={"g": g, "c": c},
        save_every=0,
    )
    for i, real in run.enumerate(until):
        for _ in range(2):
            c.zero_grad()
            fake = generator(torch.randn(len(real), 2)).detach()
            (critic(fake).mean() - critic(real).mean()).backward()
            c.step()
        if i % 2:
            g.zero_grad()
            (-critic(generator(torch.randn(len(real), 2))).mean()).backward()
            g.step()
    run.close()
    return {"generator": generator, "critic": critic, "g": g, "c": c}


def drawing_its_own(directory: Path, until: int) -> Any:
    """No loader: the body draws its batch, sets its rate by hand, and evaluates every second step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    run = unbroken.Run(directory, model=model, optimizer=optimizer, save_every=0)
    for step in run.iterations(until):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 / (1 + step)
        if step % 2 == 0:
            model.eval()
            model(DATA[torch.randint(SAMPLES, (4,))])
            model.train()
        for _ in range(2):
            batch = DATA[torch.randint(SAMPLES, (4,))]
            (model(batch).square().mean() / 2).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    run.close()
    return {"model": model, "optimizer": optimizer}


def breaking_off(directory: Path, until: int) -> Any:
    """At most two batches of each epoch; the epoch's work follows."""
    del until
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    run = unbroken.Run(
        directory,
        data=DataLoader(Augmented(), batch_size=4, shuffle=True),
        model=model,
        optimizer=optimizer,
        scheduler=schedule,
        save_every=0,
    )
    for _ in run.epochs(3):
        for i, batch in run.enumerate():
            model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            if i == 1:
                break
        schedule.step()
    assert unbroken.Position(epoch=3, step=6, updates=6) == run.position
    run.close()
    return {"model": model, "optimizer": optimizer, "schedule": schedule}


def lbfgs(directory: Path, until: int) -> Any:
    """An optimiser with a closure, called by the loop."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3, history_size=3)
    loader = DataLoader(Augmented(), batch_size=4, shuffle=True)
    run = unbroken.Run(directory, data=loader, model=model, optimizer=optimizer, save_every=0)
    for batch in run.batches(until):

        def closure(batch: torch.Tensor = batch) -> float:
            optimizer.zero_grad()
            loss = model(batch).square().mean()
            loss.backward()
            return float(loss.detach())

        optimizer.step(closure)
    run.close()
    return {"model": model, "optimizer": optimizer}


@pytest.mark.parametrize(
    ("train", "steps"),
    [(accumulating, 7), (gan, 4), (drawing_its_own, 4), (breaking_off, 6), (lbfgs, 3)],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_any_body(train: Callable[[Path, int], Any], steps: int) -> None:
    """Loops as people write them, with nothing changed but where the batches come from."""
    assert_resume_is_exact(train, steps, ignore=["scaler._init_growth_tracker"])
