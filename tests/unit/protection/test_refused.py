"""What can't be protected as it is written is refused before it has saved anything, with the way that works."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset

import unbroken
from unbroken.errors import ResumeRefused, RunMisused, SettingsInvalid


def parts(lr: float = 0.1) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return what is trained."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    return model, torch.optim.SGD(model.parameters(), lr=lr)


def loader(seed: int = 0, batch_size: int = 4, *, shuffle: bool = True) -> DataLoader[Any]:
    """Return a loader of 16 samples."""
    data = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(data), batch_size, shuffle=shuffle)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    """Train on a batch."""
    model(batch[0]).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def two_loaders() -> None:
    model, optimizer = parts()
    first, second = loader(1), loader(2)
    for number in range(2):
        for batch in [first, second][1 - number // 2]:
            step(model, optimizer, batch)


def hidden_loaders() -> None:
    model, optimizer = parts()
    loaders = [loader(1), loader(2)]
    for number in range(2):
        for batch in loaders[number % 2]:
            step(model, optimizer, batch)


def kept_iterator() -> None:
    model, optimizer = parts()
    source = loader()
    batches = iter(source)
    for _ in range(3):
        step(model, optimizer, next(batches))


def kept_from_round_to_round() -> None:
    model, optimizer = parts()
    source = loader()
    batches = None
    for _ in range(3):
        batches = batches or iter(source)
        step(model, optimizer, next(batches))


def read_along() -> None:
    model, optimizer = parts()
    labelled, others = loader(1), loader(2)
    for _ in range(2):
        for batch, _ in zip(labelled, cycle(others), strict=False):
            step(model, optimizer, batch)


def twice_in_a_round() -> None:
    model, optimizer = parts()
    batches = loader()
    for _ in range(2):
        for batch in batches:
            step(model, optimizer, batch)
        for batch in batches:
            step(model, optimizer, batch)


def no_optimizer() -> None:
    batches = loader()
    for _ in range(2):
        for (x,) in batches:
            nn.Linear(4, 1)(x).sum().backward()


def folds() -> None:
    for fold in range(2):
        model, optimizer = parts()
        for batch in loader(fold):
            step(model, optimizer, batch)


def begun_twice() -> None:
    model, optimizer = parts()
    batches = loader()

    def pass_() -> None:
        for batch in batches:
            step(model, optimizer, batch)

    for _ in range(2):
        pass_()


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (kept_from_round_to_round, "An iterator over a loader is kept .*: source"),
        (two_loaders, "trains on batches of second, and the run counts those of first"),
        (hidden_loaders, r"Several loaders may be the one that trains: loaders\[0\], loaders\[1\]"),
        (kept_iterator, "An iterator over a loader is kept .*: batches"),
        (read_along, "others is read along with labelled"),
        (twice_in_a_round, "goes through batches a second time in one round"),
        (no_optimizer, "No optimizer was found"),
        (folds, "No optimizer was found"),
    ],
)
def test_loops_that_can_not_be_followed(
    function: Callable[[], None], found: str, tmp_path: Path
) -> None:
    """Each is met in its first two rounds, and no checkpoint is left behind."""
    with pytest.raises((SettingsInvalid, RunMisused), match=found):
        unbroken.protect(tmp_path / "out")(function)()
    assert not list((tmp_path / "out").glob("checkpoints/step-*"))


def test_the_loader_can_be_named(tmp_path: Path) -> None:
    """As the function calls it; a name that isn't there is refused."""
    unbroken.protect(tmp_path / "a", data="second")(two_loaders)()
    for wrong in ("third", "model"):
        with pytest.raises(SettingsInvalid, match=f"data='{wrong}'.* first, second"):
            unbroken.protect(tmp_path / "b", data=wrong)(two_loaders)()


def generator() -> Iterator[int]:
    yield 1


async def asynchronous() -> None:
    """Do nothing."""


def wrapping(function: Callable[[], None]) -> Callable[[], None]:
    """Return a function around another."""

    @functools.wraps(function)
    def around() -> None:
        function()

    return around


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (generator, "a generator"),
        (asynchronous, "an async function"),
        (lambda: None, "a lambda"),
        (print, "a builtin_function_or_method"),
        (nn.Linear, "a type"),
        (wrapping(folds), "which another decorator has wrapped"),
    ],
)
def test_what_is_no_plain_function(function: Any, kind: str, tmp_path: Path) -> None:
    """It is refused where it is decorated, and nothing is written."""
    with pytest.raises(SettingsInvalid, match=kind):
        unbroken.protect(tmp_path / "out")(function)
    assert not (tmp_path / "out").exists()


def test_forgotten_parentheses() -> None:
    """`@unbroken.protect` without a directory."""
    with pytest.raises(SettingsInvalid, match="was given <function folds") as error:
        unbroken.protect(folds)  # type: ignore[arg-type]  # that is the mistake
    assert '@unbroken.protect("out")' in error.value.remedy


def test_a_function_without_a_source(tmp_path: Path) -> None:
    """Its loop can't be read."""
    space: dict[str, Any] = {}
    exec("def train():\n    for a in range(3): a.backward()", space)  # noqa: S102  # it has no file
    with pytest.raises(SettingsInvalid, match=r"The source of train\(\) can't be read"):
        unbroken.protect(tmp_path / "out")(space["train"])


def with_lr(lr: float, batch_size: int = 4, seed: int = 0) -> None:
    model, optimizer = parts(lr)
    batches = loader(seed, batch_size)
    for _ in range(2):
        for batch in batches:
            step(model, optimizer, batch)


def test_a_second_call_would_go_on_from_the_first(tmp_path: Path) -> None:
    """Each call needs a directory of its own."""
    train = unbroken.protect(tmp_path / "out")(with_lr)
    train(0.1)
    with pytest.raises(RunMisused, match=r"with_lr\(\) was called a second time"):
        train(0.1)
    unbroken.protect(tmp_path / "other")(with_lr)(0.1)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"lr": 0.2}, r"lr: is 0.2, was 0.1; the saved value acts"),
        ({"batch_size": 2}, r"Batch size changed"),
        ({"seed": 1}, r"ResumeRefused.*data"),
    ],
)
def test_what_changed_is_met_by_the_same_checks(
    changed: dict[str, Any], told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is as strict as a run that was written by hand: refused, or told and the saved value acts."""
    caplog.set_level("INFO", "unbroken")
    calls = 0

    def stop(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt

    handle = register_optimizer_step_post_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        unbroken.protect(tmp_path / "out", save_every=2)(with_lr)(0.1)
    handle.remove()
    try:
        unbroken.protect(tmp_path / "out", save_every=2)(with_lr)(**{"lr": 0.1, **changed})
    except ResumeRefused as error:
        text = f"ResumeRefused: {error}"
    else:
        text = caplog.text
    assert re.search(told, text, re.DOTALL)
    assert "run.resume(" not in text


def test_a_loop_that_is_never_reached_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that returns before."""

    def train(*, is_dry: bool) -> int:
        if is_dry:
            return 7
        for _ in range(3):
            no_optimizer()
        return 8

    assert unbroken.protect(tmp_path / "out")(train)(is_dry=True) == 7
    assert "was never begun: nothing was saved" in caplog.text
