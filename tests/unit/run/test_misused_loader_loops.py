"""What a loop over a loader may not do is refused by name, and a save inside a batch waits for its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unbroken

DATA = TensorDataset(torch.randn(12, 3, generator=torch.Generator().manual_seed(1)))


class Training:
    """A model, its optimiser and a run over a loader of three batches."""

    def __init__(self, directory: Path, **options: Any) -> None:
        torch.manual_seed(3)
        self.model = nn.Linear(3, 1)
        self.adam = torch.optim.AdamW(self.model.parameters())
        given = {"data": DataLoader(DATA, 4), "save_every": 0, **options}
        self.run = unbroken.Run(directory, model=self.model, optimizer=self.adam, **given)

    def update(self, batch: Any) -> None:
        self.model(batch[0]).mean().backward()
        self.adam.step()
        self.adam.zero_grad()


def saved(directory: Path) -> list[str]:
    return sorted(each.name for each in (directory / "checkpoints").glob("step-*"))


def test_a_save_inside_a_batch_is_refused(tmp_path: Path) -> None:
    """The position doesn't count the batch, and its update is in the state: the next start would repeat it."""
    training = Training(tmp_path)
    running = training.run.batches(2)
    training.update(next(running))
    with pytest.raises(unbroken.SaveFailed, match="while batch 1 is trained on"):
        training.run.save()
    assert saved(tmp_path) == []
    running.close()
    training.run.close()


def test_a_save_that_is_wanted_inside_a_batch_is_made_at_its_end(tmp_path: Path) -> None:
    """As when a score is the best so far; and the state is the one after the batch."""
    training = Training(tmp_path)
    for i, batch in training.run.enumerate(3):
        training.update(batch)
        if i == 0:
            training.run.save_in_background(at_once=True)
    training.run.close()
    assert saved(tmp_path) == ["step-00000001", "step-00000003"]


def twice(training: Training) -> None:
    for _ in training.run.epochs(1):
        for _ in range(2):
            for batch in training.run.batches():
                training.update(batch)


def nested(training: Training) -> None:
    for batch in training.run.batches(3):
        training.update(batch)
        next(training.run.batches(3))


def logging_a_vector(training: Training) -> None:
    for batch in training.run.batches(3):
        training.run.log(loss=batch[0])


def logging_a_text(training: Training) -> None:
    for _ in training.run.batches(3):
        training.run.log(phase="warm-up")


def logging_a_name_of_the_journal(training: Training) -> None:
    for _ in training.run.batches(3):
        training.run.log(step=3)


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        (twice, r"run.batches\(\) was called a second time in epoch 0"),
        (nested, "inside of a loop over the batches of the same run"),
        (lambda t: next(t.run.enumerate()), r"run.enumerate\(\) was called without until="),
        (logging_a_vector, r"run.log\(loss=...\) is a tensor of shape \(4, 3\)"),
        (logging_a_text, r"run.log\(phase=...\) is 'warm-up'"),
        (logging_a_name_of_the_journal, r"run.log\(step=...\) has a name that the journal uses"),
    ],
)
def test_a_loop_that_can_not_be_followed_is_refused(
    tmp_path: Path, loop: Callable[[Training], None], said: str
) -> None:
    """By name, at the call that does it."""
    training = Training(tmp_path)
    with pytest.raises(unbroken.RunMisused, match=said):
        loop(training)
    training.run.close()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (DATA, "is a TensorDataset, a data set and no loader"),
        ({"train": DataLoader(DATA)}, "is a dict"),
        (lambda: DataLoader(DATA), "is a function"),
        (iter([1]), "gives its batches once"),
    ],
)
def test_what_is_no_loader_is_refused(tmp_path: Path, data: Any, said: str) -> None:
    """With what to give instead, and nothing is written."""
    with pytest.raises(unbroken.SettingsInvalid, match=said):
        Training(tmp_path, data=data)
    assert not list(tmp_path.iterdir())


def test_models_and_optimisers_may_have_the_same_names(tmp_path: Path) -> None:
    """The optimiser's part then has its role before its name."""
    model = nn.Linear(3, 1)
    adam = torch.optim.AdamW(model.parameters())
    run = unbroken.Run(tmp_path, data=[DATA], model={"g": model}, optimizer={"g": adam})
    assert ["g", "optimizer_g"] == list(run.state.parts)


def fail(fails: bool) -> None:
    if fails:
        raise MemoryError


def test_a_failed_batch_comes_again(tmp_path: Path) -> None:
    """A loop that caught an error, such as no memory, goes on with the batch that failed."""
    training, seen = Training(tmp_path), []
    while training.run.position.step < 3:
        try:
            for batch in training.run.batches(3):
                seen.append(training.run.position.step)
                fail(len(seen) == 2)
                training.update(batch)
        except MemoryError:
            continue
    training.run.close()
    assert [0, 1, 1, 2] == seen


def train_all(training: Training) -> None:
    for batch in training.run.batches(9):
        training.update(batch)


def test_a_run_stops_and_saves_when_its_time_is_over(tmp_path: Path) -> None:
    """And the next start goes on, with time of its own."""
    training = Training(tmp_path, stop_after=1e-9)
    with pytest.raises(unbroken.Stopped, match="the time that was given"):
        train_all(training)
    training.run.close()
    assert saved(tmp_path) == ["step-00000000"]
    training = Training(tmp_path, stop_after="1h")
    train_all(training)
    training.run.close()
    assert training.run.position.step == 9
