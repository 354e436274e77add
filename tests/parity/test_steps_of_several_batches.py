"""Steps that have several batches of a loader each, stopped after each and resumed."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

import unbroken
from unbroken.testing import assert_resume_is_exact

SAMPLES = 14
DATA = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(3))


class Augmented(Dataset[torch.Tensor]):
    """Draws for each sample."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        return DATA[index] + 0.1 * (torch.randn(4) + random.random())  # noqa: S311


def masked(samples: list[torch.Tensor]) -> torch.Tensor:
    """Mask at random, as collators for language models do."""
    batch: torch.Tensor = default_collate(samples)
    return batch * (torch.rand(batch.shape) > 0.1)


def accumulating(directory: Path, until: int) -> Any:
    """Two batches a step, the last of an epoch one; what is written comes from counted steps."""
    del until
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loader = DataLoader(Augmented(), batch_size=3, shuffle=True, collate_fn=masked)
    run = unbroken.Run(
        directory, data=loader, batches_per_step=2, model=model, optimizer=optimizer, save_every=0
    )
    masks = []
    for _ in run.epochs(2):
        for batches in run.batches():
            for i, batch in enumerate(batches):
                if i:
                    run.next_of_step()
                masks.append(torch.rand(()).item())
                (model(batch).square().mean() / len(batches)).backward()
            optimizer.step()
            optimizer.zero_grad()
            run.step_done()
            assert run.position.updates == run.position.step
    assert unbroken.Position(epoch=2, step=6, updates=6) == run.position
    assert len(masks) == len(set(masks))
    run.close()
    return {"model": model, "optimizer": optimizer}


def masking_in_workers(directory: Path, until: int) -> Any:
    """Samples that draw nothing, put together by a function that does, in two workers."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    samples: Any = list(DATA)
    loader = DataLoader(samples, batch_size=4, shuffle=True, collate_fn=masked, num_workers=2)
    run = unbroken.Run(directory, data=loader, model=model, optimizer=optimizer, save_every=0)
    for batch in run.batches(until):
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    run.close()
    return {"model": model, "optimizer": optimizer}


@pytest.mark.parametrize(("train", "steps"), [(accumulating, 6), (masking_in_workers, 3)])
def test_a_resume_is_exact(train: Any, steps: int) -> None:
    """Each batch of a step draws numbers of its own, also after a resume."""
    assert_resume_is_exact(train, steps)


@pytest.mark.parametrize("are_kept", [False, True])
def test_the_workers_end_with_the_run(*, are_kept: bool, tmp_path: Path) -> None:
    """A program that goes on keeps no processes of a training that is closed."""
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(Augmented(), batch_size=2, num_workers=1, persistent_workers=are_kept)
    before = set(multiprocessing.active_children())
    run = unbroken.Run(tmp_path, data=loader, model=model, optimizer=optimizer, save_every=0)
    for batch in run.batches(2):
        model(batch).square().mean().backward()
        optimizer.step()
    assert set(multiprocessing.active_children()) - before
    run.close()
    assert set() == set(multiprocessing.active_children()) - before


def test_there_is_no_batch_after_the_last(tmp_path: Path) -> None:
    """Going beyond the step's list is an error, and so is a call without a list."""
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(Augmented(), batch_size=7)
    run = unbroken.Run(
        tmp_path / "run", data=loader, batches_per_step=2, model=model, optimizer=optimizer
    )
    steps = run.batches(1)
    assert 2 == len(next(steps))
    run.next_of_step()
    with pytest.raises(unbroken.RunMisused, match="no further batch"):
        run.next_of_step()
    run.close()


@pytest.mark.parametrize("number", [0, -1, 1.5, "2"])
def test_a_step_has_a_whole_number_of_batches(number: Any, tmp_path: Path) -> None:
    """Anything else is refused, and nothing is written."""
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(Augmented(), batch_size=7)
    with pytest.raises(unbroken.SettingsInvalid, match="batches_per_step"):
        unbroken.Run(
            tmp_path, data=loader, batches_per_step=number, model=model, optimizer=optimizer
        )
    assert [] == list(tmp_path.iterdir())


def test_the_batches_of_a_stream_are_not_counted(tmp_path: Path) -> None:
    """A step of several needs a data set with an index."""

    class Lines(IterableDataset[torch.Tensor]):
        """A stream."""

        def __iter__(self) -> Iterator[torch.Tensor]:
            yield from DATA

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(unbroken.SettingsInvalid, match="has no index"):
        unbroken.Run(
            tmp_path, data=DataLoader(Lines()), batches_per_step=2, model=model, optimizer=optimizer
        )
