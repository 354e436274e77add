"""What could not come back is refused by name, before it has trained or before anything is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import unbroken
from support.brought_parts import STEPS, STOP, Kit, Packed, Phases, Train, assert_exact, small


class HeadLess(nn.Module):
    """Leaves its head out of what it saves, as a wrapper for export would."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.body(x))

    def state_dict(self, *_args: Any, **_kwargs: Any) -> Any:
        return self.body.state_dict(prefix="body.")


def dropping_hook() -> nn.Module:
    model = small()

    def drop(_module: Any, state: Any, prefix: str, _metadata: Any) -> None:
        del state[f"{prefix}2.weight"]

    model._register_state_dict_hook(drop)
    return model


@pytest.mark.parametrize(
    ("build", "name"),
    [(HeadLess, "model.head.weight"), (dropping_hook, "model.2.weight")],
    ids=["a state_dict of its own", "a hook"],
)
def test_what_trains_but_is_in_no_checkpoint_is_refused(
    build: Callable[[], nn.Module], name: str, tmp_path: Path
) -> None:
    """The parameter is named before the first step."""
    with pytest.raises(unbroken.UnbrokenError, match=f"{name}.*an optimiser updates it"):
        Train(lambda: Kit(build()), tmp_path, 1)


class Mean(nn.Module):
    """Gathers as the metrics of torchmetrics do: in tensors that its state doesn't have unless told."""

    def __init__(self) -> None:
        super().__init__()
        self.total = torch.zeros(())


class Tracker:
    """Gathers, and says nothing of it."""

    def __init__(self) -> None:
        self.seen = np.zeros(3)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@pytest.mark.parametrize("part", [Mean, Tracker])
def test_a_part_that_saves_nothing_of_what_it_keeps_is_refused(
    part: Callable[[], Any], tmp_path: Path
) -> None:
    """It was declared to be kept; the message has the line that mends a metric."""
    with pytest.raises(unbroken.UnbrokenError, match=r"'metric' saves nothing.*\n.*\n.*persistent"):
        Train(lambda: Kit(small(), {"metric": part()}), tmp_path, 1)


@pytest.mark.parametrize("part", [nn.ReLU, nn.Identity, Phases])
def test_a_part_that_has_nothing_to_save_raises_no_alarm(
    part: Callable[[], Any], tmp_path: Path
) -> None:
    """An activation, a wrapper, or an object whose state is still empty, is declared without harm."""
    assert_exact(lambda: Kit(small(), {"part": part()}), tmp_path)


class OneWay(Packed):
    """Saves what it doesn't take back."""

    def _load_from_state_dict(self, *_args: Any) -> None:
        self.count = 0


def growing() -> Kit:
    model: Any = small()
    return Kit(model, after=lambda _: model.append(nn.Linear(1, 1)))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Kit(OneWay()), r"model\.weight|model\.packed"),
        (growing, r"model\.3\.weight: is F32 \[1, 1\], was not there"),
    ],
    ids=["a load that loses", "a layer that is added"],
)
def test_what_no_start_would_take_back_is_told_at_the_first_step(
    build: Callable[[], Kit], named: str, tmp_path: Path
) -> None:
    """Not weeks later, at the first resume."""
    with pytest.raises(unbroken.UnbrokenError, match=named):
        Train(build, tmp_path, STEPS)
    assert not list(tmp_path.glob("checkpoints/step-*"))


class Broken:
    """An object whose methods fail as foreign code does."""

    def __init__(self, *, saves: bool) -> None:
        self.saves = saves

    def state_dict(self) -> dict[str, Any]:
        empty: dict[str, Any] = {}
        return {"n": 1} if self.saves else {"n": empty["n"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise TypeError(f"no {state}")


def test_errors_of_foreign_code_name_the_part(tmp_path: Path) -> None:
    """They stay errors of the library, with what to do."""
    with pytest.raises(unbroken.UnbrokenError, match=r"state_dict\(\) of 'odd' failed: KeyError"):
        Train(lambda: Kit(small(), {"odd": Broken(saves=False)}), tmp_path / "a", 1)
    build = lambda: Kit(small(), {"odd": Broken(saves=True)})  # noqa: E731  # shortest here
    Train(build, tmp_path / "b", STOP)
    with pytest.raises(unbroken.UnbrokenError, match="'odd' did not take its saved state: TypeErr"):
        Train(build, tmp_path / "b", STEPS)
