"""Loops that change their loader, its sampler or its data set from epoch to epoch, and loaders of others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    WeightedRandomSampler,
)

import unbroken
from unbroken.testing import assert_resume_is_exact

SAMPLES = 12
DATA = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(3))

Between = Callable[[int], None]
"""What the loop does at the beginning of an epoch."""


def nothing(epoch: int) -> None:
    """Do nothing."""


class Staged(Dataset[torch.Tensor]):
    """Gives harder samples in later epochs."""

    stage = 0

    def set_epoch(self, epoch: int) -> None:
        self.stage = epoch

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        return DATA[index] * (1 + self.stage) + 0.1 * torch.randn(4)


class StagedLines(IterableDataset[torch.Tensor]):
    """The same as a stream."""

    stage = 0

    def set_epoch(self, epoch: int) -> None:
        self.stage = epoch

    def __iter__(self) -> Iterator[torch.Tensor]:
        for each in DATA:
            yield each * (1 + self.stage) + 0.1 * torch.randn(4)


def weights_by_epoch() -> tuple[Any, Between]:
    """Other samples in each epoch, by the weights of the sampler."""
    sampler = WeightedRandomSampler([1.0] * SAMPLES, 8)

    def begin(epoch: int) -> None:
        sampler.weights = torch.zeros(SAMPLES)
        sampler.weights[4 * epoch : 4 * epoch + 4] = 1

    return DataLoader(Staged(), 4, sampler=sampler), begin


def sizes_by_epoch() -> tuple[Any, Between]:
    """Larger batches in each epoch."""
    sampler = BatchSampler(RandomSampler(range(SAMPLES)), 3, drop_last=False)

    def begin(epoch: int) -> None:
        sampler.batch_size = 3 + epoch

    return DataLoader(Staged(), batch_sampler=sampler), begin


def stage_by_epoch() -> tuple[Any, Between]:
    """The data set is told the epoch by the loop, and counts it otherwise than from 0."""
    dataset = Staged()
    return DataLoader(dataset, 4, shuffle=True), lambda epoch: dataset.set_epoch(epoch + 2)


def stream_by_epoch() -> tuple[Any, Between]:
    """A stream is told so."""
    dataset = StagedLines()
    return DataLoader(dataset, 4), lambda epoch: dataset.set_epoch(epoch + 2)


def prepared_by_accelerate() -> tuple[Any, Between]:
    """A loader that reads another one, and one batch ahead."""
    accelerate = pytest.importorskip("accelerate")
    loader = DataLoader(Staged(), 4, shuffle=True)
    prepared = accelerate.Accelerator(cpu=True).prepare_data_loader(loader)
    return prepared, nothing


class OnItsWay(DataLoader[torch.Tensor]):
    """Moves what it gives, as subclasses do."""

    def __iter__(self) -> Iterator[torch.Tensor]:  # type: ignore[override]  # as people write it
        for batch in super().__iter__():
            yield batch.double().float()


def derived() -> tuple[Any, Between]:
    """A loader of a class of one's own."""
    return OnItsWay(Staged(), 4, shuffle=True), nothing


LOADERS = [
    weights_by_epoch,
    sizes_by_epoch,
    stage_by_epoch,
    stream_by_epoch,
    prepared_by_accelerate,
    derived,
]


def trained(directory: Path, build: Callable[[], tuple[Any, Between]], save_every: int) -> Any:
    """Train three epochs; return what is alive."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.2), nn.Linear(6, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    loader, begin = build()
    run = unbroken.Run(
        directory,
        data=loader,
        model={"net": model},
        optimizer={"net": optimizer},
        save_every=save_every,
    )
    for epoch in run.epochs(3):
        begin(epoch)
        for batch in run.batches():
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
    run.close()
    return {"model": model, "optimizer": optimizer}


@pytest.mark.parametrize("build", LOADERS)
def test_stopped_anywhere(build: Callable[[], tuple[Any, Between]]) -> None:
    """What the loop sets at the beginning of an epoch acts, whenever it was stopped."""
    assert_resume_is_exact(lambda directory, _: trained(directory, build, 0), 7)


@pytest.mark.parametrize("build", [weights_by_epoch, sizes_by_epoch])
def test_when_it_saves_plays_no_part(
    tmp_path: Path, build: Callable[[], tuple[Any, Between]]
) -> None:
    """A save at the end of an epoch doesn't draw the next one's order before the loop has set it."""
    ends = [trained(tmp_path / str(n), build, n)["model"].state_dict() for n in (0, 1, 2)]
    for other in ends[1:]:
        assert all(torch.equal(ends[0][name], other[name]) for name in other)


class Multi(DataLoader[torch.Tensor]):
    """Keeps one iterator for all epochs, as some libraries' loaders do."""

    def __init__(self) -> None:
        super().__init__(Staged(), 4, shuffle=True)
        self.kept = super().__iter__()

    def __iter__(self) -> Any:
        for _ in range(3):
            yield next(self.kept)


def test_a_loader_that_goes_its_own_way_is_refused(tmp_path: Path) -> None:
    """It can't be begun in the middle: that is said, by name, before anything is trained."""
    with pytest.raises(unbroken.SettingsInvalid, match="The Multi does not ask its sampler"):
        trained(tmp_path, lambda: (Multi(), nothing), 0)


def test_a_list_that_no_seed_gives_is_kept(tmp_path: Path) -> None:
    """A sampler that draws from the system gives its list once; a resume goes on with that."""

    class FromTheSystem(Sampler[int]):
        def __len__(self) -> int:
            return SAMPLES

        def __iter__(self) -> Iterator[int]:
            yield from sorted(range(SAMPLES), key=lambda _: os.urandom(4))

    used: list[float] = []
    samples: Any = list(DATA)
    for until in (1, 3):
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader: DataLoader[Any] = DataLoader(samples, 4, sampler=FromTheSystem())
        run = unbroken.Run(tmp_path, data=loader, model=model, optimizer=optimizer)
        for batch in run.batches(until):
            used += batch[:, 0].tolist()
            model(batch).square().mean().backward()
            optimizer.step()
        run.close()
    assert sorted(DATA[:, 0].tolist()) == sorted(used)


class GoingOn(IterableDataset[torch.Tensor]):
    """Says where it stands, and goes on from there, as streams of torchdata and Hugging Face do."""

    def __init__(self) -> None:
        self.at, self.reads = 0, 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        while self.at < SAMPLES:
            self.at += 1
            self.reads += 1
            yield DATA[self.at - 1]
        self.at = 0

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


class Stop(Exception):  # it is no error
    """Ends a start inside an epoch."""


def through(run: unbroken.Run, model: nn.Module, until: int) -> Iterator[float]:
    """Train the batches of an epoch, up to some number; yield the first value of each sample."""
    optimizer = run.optimizers[0]
    for _ in run.epochs(1):
        for batch in run.batches():
            if run.position.step == until:
                raise Stop
            model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            yield from batch[:, 0].tolist()


def test_a_stream_with_a_state_goes_on_by_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Inside an epoch nothing is read again, nothing of it is undone, and every sample comes once."""
    caplog.set_level("INFO", "unbroken")
    used: list[float] = []
    for until in (2, 3, 99):
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        stream = GoingOn()
        loader: DataLoader[Any] = DataLoader(stream, 2)
        run = unbroken.Run(tmp_path, data=loader, model=model, optimizer=optimizer, save_every=1)
        before = run.resume("auto").position.step
        with suppress(Stop):
            used += through(run, model, until)
        run.close()
        assert stream.reads == min(2 * (until + 1), SAMPLES) - 2 * before
    assert DATA[:, 0].tolist() == used
    assert "undone" not in caplog.text
    assert "read again" not in caplog.text
