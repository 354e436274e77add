"""A run with a loader of the program's own: what is refused, told, stopped and journalled."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

import unbroken


class Squares(Dataset[torch.Tensor]):
    """A data set that nobody can see through."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.data[index] ** 2


DATA = torch.randn(14, 3, generator=torch.Generator().manual_seed(1))


def train(
    directory: Path,
    until: int,
    *,
    seed: int = 3,
    data: torch.Tensor = DATA,
    loader: dict[str, Any] | None = None,
    optimizer: dict[str, Any] | None = None,
    average: bool = True,
    **run_options: Any,
) -> unbroken.Run:
    """Train a model as a program does that is started with such settings."""
    torch.manual_seed(seed)
    model = nn.Linear(3, 1)
    options = {"batch_size": 4, "shuffle": True, **(loader or {})}
    adam = torch.optim.AdamW(model.parameters(), **{"lr": 1e-2, **(optimizer or {})})
    parts: dict[str, Any] = {"average": AveragedModel(model)} if average else {}
    run = unbroken.Run(
        directory, data=DataLoader(Squares(data), **options), model=model, optimizer=adam,
        save_every=1, **parts, **run_options,
    )  # fmt: skip
    try:
        for batch in run.batches(until):
            loss = model(batch).square().mean()
            loss.backward()
            adam.step()
            adam.zero_grad()
            run.log(loss=loss)
    finally:
        run.close()
    return run


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 4}, "order.seed is 4, was 3"),
        ({"data": DATA.flip(0)}, "The last batch, read again, holds what it held: no"),
        ({"data": DATA[:13]}, "order.samples is 13, was 14"),
        (
            {"loader": {"shuffle": False}},
            "order.sampler.1 is 'SequentialSampler', was 'RandomSampler'",
        ),
        ({"loader": {"drop_last": True}}, "order.drop_last is True, was False"),
        ({"average": False}, "average: in the checkpoint, but not declared"),
        ({"facts": {"augment": "strong"}}, "augment is 'strong', was 'weak'"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_another_training_is_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    """Before a step is trained, by name."""
    train(tmp_path, 3, facts={"augment": "weak"})
    journal = (tmp_path / "journal.jsonl").read_bytes()
    with pytest.raises(unbroken.ResumeRefused) as refused:
        train(tmp_path, 6, **{"facts": {"augment": "weak"}, **changed})
    assert said in str(refused.value)
    assert journal == (tmp_path / "journal.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"optimizer": {"lr": 0.5}},
            "optimizer.groups.0.lr: is 0.5, was 0.01; the saved value acts",
        ),
        (
            {"optimizer": {"weight_decay": 0.5}},
            "weight_decay: is 0.5, was 0.01; the saved value acts",
        ),
        ({"loader": {"batch_size": 3}}, "Batch size changed! Checkpoint: 4, Current: 3"),
    ],
    ids=["rate", "decay", "batch size"],
)
def test_what_else_is_changed_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changed: dict[str, Any], said: str
) -> None:
    """And which value acts."""
    train(tmp_path, 2)
    with caplog.at_level(logging.INFO, "unbroken"):
        run = train(tmp_path, 4, **changed)
    assert said in caplog.text
    assert run.optimizers[0].param_groups[0]["lr"] == 0.01


def test_a_kill_right_after_a_save_proves_the_data(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is to be repeated; still the last batch is read again and compared."""
    train(tmp_path, 5)
    with caplog.at_level(logging.INFO, "unbroken"):
        train(tmp_path, 6)
    assert "[Resume] goes on at step 5, from step-00000005" in caplog.text
    evidence = json.loads((tmp_path / "checkpoints/step-00000006/evidence.json").read_bytes())
    assert evidence["content_at"][0][:2] == [1, 4]


def test_other_content_is_a_cause(tmp_path: Path) -> None:
    """A replay that meets an edited sample names it as that."""
    train(tmp_path, 3)
    shutil.rmtree(tmp_path / "checkpoints/step-00000003")
    journal = tmp_path / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    lines[2]["content"] = "0" * 16
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(unbroken.Diverged, match="other content of the samples"):
        train(tmp_path, 4)


def test_a_stop_ends_the_program_with_its_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has to catch it: between two batches the run saves, and the process ends with 75."""
    torch.manual_seed(3)
    model = nn.Linear(3, 1)
    adam = torch.optim.AdamW(model.parameters())
    run = unbroken.Run(
        tmp_path, data=DataLoader(Squares(DATA), 4), model=model, optimizer=adam, save_every=0
    )

    def loop() -> None:
        for batch in run.batches(50):
            model(batch).mean().backward()
            adam.step()
            adam.zero_grad()
            if run.position.step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as stopped:
        loop()
    run.close()
    assert stopped.value.code == 75
    assert "Stopped by SIGTERM; saved as step-00000003." in caplog.text


def test_gathered_batches_are_no_updates(tmp_path: Path) -> None:
    """The journal tells apart what was updated, gathered, and left out by a scaler."""
    torch.manual_seed(3)
    model = nn.Linear(3, 1)
    adam = torch.optim.AdamW(model.parameters())
    run = unbroken.Run(tmp_path, data=DataLoader(Squares(DATA), 4), model=model, optimizer=adam)
    for i, batch in run.enumerate(4):
        model(batch).mean().backward()
        if i % 2:
            adam.step()
            adam.zero_grad()
    run.close()
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert [True, None, True, None] == [each.get("gathers") for each in lines]
    assert [0, 1, 1, 2] == [each["updates"] for each in lines]
    assert all("skipped" not in each for each in lines)


def with_order(directory: Path) -> unbroken.Run:
    model = nn.Linear(3, 1)
    order = unbroken.StepBatches(["a", "b"], None, 1, 3)
    adam = torch.optim.AdamW(model.parameters())
    return unbroken.Run(directory, order=order, model=model, optimizer=adam)


def without_order(directory: Path, **options: Any) -> unbroken.Run:
    model = nn.Linear(3, 1)
    adam = torch.optim.AdamW(model.parameters())
    return unbroken.Run(directory, model=model, optimizer=adam, **options)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda path: next(with_order(path).batches(3)), r"run.batches\(\) was called on a run"),
        (lambda path: next(without_order(path).batches(3)), "Make the run with data="),
        (
            lambda path: next(without_order(path, data=[1]).iterations(3)),
            "neither data= nor order=",
        ),
        (lambda path: without_order(path).order, "has no step batches"),
        (lambda path: with_order(path).log(loss=1), r"run.log\(\) was called"),
        (lambda path: without_order(path).log(loss=1), "while no batch is trained on"),
    ],
)
def test_calls_that_do_not_fit_the_run_are_refused(
    tmp_path: Path, call: Callable[[Path], Any], said: str
) -> None:
    """By name, and nothing is written."""
    with pytest.raises(unbroken.RunMisused, match=said):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", [-1, 1 << 64, "3", 2.0])
def test_a_seed_that_is_none_is_refused(tmp_path: Path, seed: Any) -> None:
    """It must be a whole number of 64 bits."""
    with pytest.raises(unbroken.SettingsInvalid, match="Run\\(seed=\\) is"):
        without_order(tmp_path, data=[1], seed=seed)


def test_data_and_order_are_not_both_given(tmp_path: Path) -> None:
    """Both say which samples a step has."""
    order = unbroken.StepBatches(["a", "b"], None, 1, 3)
    with pytest.raises(unbroken.RunMisused, match="order= and data="):
        without_order(tmp_path, data=[1], order=order)


def test_two_runs_do_not_write_to_a_directory(tmp_path: Path) -> None:
    """Within a process the later one takes over, and the earlier one can't train on."""
    first, second = (without_order(tmp_path, data=[torch.ones(3)], save_every=1) for _ in range(2))
    running = first.batches(3)
    next(running)
    assert len(list(second.batches(1))) == 1
    with pytest.raises(unbroken.UnbrokenError):
        list(running)
    second.close()


def test_a_generator_that_nobody_declared_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the first batches train; one that was declared, or isn't drawn from, is not."""
    noise, declared, unused = (torch.Generator().manual_seed(n) for n in range(3))
    model = nn.Linear(3, 1)
    adam = torch.optim.AdamW(model.parameters())
    data = DataLoader(Squares(DATA), 4)
    others = iter(DataLoader(Squares(DATA), 2))
    run = unbroken.Run(tmp_path, data=data, model=model, optimizer=adam, declared=declared)
    for batch in run.batches(4):
        moved = batch + torch.rand(3, generator=noise) + torch.rand(3, generator=declared)
        (model(moved).mean() + model(next(others)).mean()).backward()
        adam.step()
        adam.zero_grad()
    run.close()
    told = [each.getMessage() for each in caplog.records if "[Data]" in each.getMessage()]
    assert 2 == len(told)
    assert "Declare it: Run(..., noise=noise)" in told[0]
    assert "'others', an iterator over a loader" in told[1]
    assert unused.initial_seed() == 2
