"""Every leaf of the state counts: perturbed after a restore, each one is found by its name."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from support import toy_training as toy
from support.sameness import same
from support.state_copy import changed_leaves, hand_over, seen
from unbroken.loop.schedule import Schedule, warmup_cosine
from unbroken.state.codec import encode
from unbroken.state.training_state import TrainingState
from unbroken.tree import join


class Meter:
    """A part of the user's own, with values of many kinds."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {
            "best": 0.25,
            "name": "val_loss",
            "history": [1.0, float("nan")],
            "window": deque([torch.ones(2), torch.zeros(1)], maxlen=3),
            "seen": {3: 1, "3": 2},
            "flags": (True, None),
            "named": OrderedDict(mean=torch.full((2,), 0.5, dtype=torch.bfloat16)),
        }

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def everything() -> TrainingState:
    """A state with every kind of part, in the middle of a step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    model[1].eval()
    model[2].bias.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.01), foreach=False)
    schedule = Schedule(optimizer, warmup_cosine(2, 9), {"warmup": 2, "total": 9})
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    declared = {"model": model, "optimizer": optimizer, "scheduler": schedule, "scaler": scaler}
    declared |= {"ema": AveragedModel(model), "meter": Meter()}
    state = TrainingState(declared, [optimizer])
    for _ in range(2):
        scaler.scale(model(torch.randn(5, 3)).square().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
    state.sums.add("loss", torch.tensor(1.5))
    return state


def leaves_of(value: Any, path: str) -> Iterator[tuple[str, Callable[[Any], None], Any]]:
    """Yield each leaf that stands in a mutable container: path, how to replace it, its value."""
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | deque):
        items = enumerate(value)
    for key, each in list(items):
        if isinstance(each, Mapping | list | deque) and each:
            yield from leaves_of(each, join(path, key))
        else:

            def replace(new: Any, key: Any = key) -> None:
                value[key] = new

            yield join(path, key), replace, each


def other(value: Any) -> Any:
    """Return a value that differs as little as its type allows."""
    if isinstance(value, torch.Tensor):
        raw = value.detach().clone().reshape(-1)
        raw.view(torch.uint8)[-1] ^= 1
        return raw.reshape(value.shape)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return math.nextafter(value, math.inf) if math.isfinite(value) else 0.0
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return [*value]
    return "another" if value is None else None


def parent(path: str) -> str:
    return path.rpartition(".")[0]


def test_every_leaf_is_found_when_it_is_changed() -> None:
    """Each leaf of every part, changed by a bit or its type, is named; unchanged, none is."""
    live = everything()
    saved = seen(live.capture())
    assert () == changed_leaves(saved, live.capture())
    count = 0
    for part in live.capture():
        paths = [path for path, _, _ in leaves_of(live.capture()[part], part)]
        for at, path in enumerate(paths):
            captured = copy.deepcopy(live.capture())
            _, replace, value = list(leaves_of(captured[part], part))[at]
            replace(other(value))
            found = changed_leaves(saved, captured)
            # What stands under keys that are no texts is named by its container.
            assert any(path in each or f"{parent(path)}.items" in each for each in found), path
            count += 1
    assert count > 100


def test_every_leaf_lost_or_added_is_found() -> None:
    """A leaf that is missing after the restore, or one too many, is named."""
    live = everything()
    saved = seen(live.capture())
    for part, container in (("model", ""), ("optimizer", "state"), ("meter", "seen")):
        for change in ("missing", "surplus"):
            captured = copy.deepcopy(live.capture())
            inner = captured[part][container]
            if change == "missing":
                inner.pop(next(iter(inner)))
            else:
                inner["surplus"] = torch.ones(1)
            found = changed_leaves(saved, captured)
            assert found
            assert all(each.startswith(part) for each in found)


def test_the_whole_tree_comes_back() -> None:
    """Every part at once goes through the codec into objects that were built anew."""
    old, new = everything(), everything()
    with torch.no_grad():
        for parameter in new.trained.values():
            parameter.add_(1.0)
            parameter.grad = None
    new.sums.clear()
    hand_over(old, new)
    assert same(old.capture(), new.capture())


def test_a_live_bit_flipped_behind_the_restore_is_found(tmp_path: Path) -> None:
    """On real objects: one bit of any tensor of the toy training, flipped, is found by name."""
    training = toy.build(tmp_path, save_every=0)
    toy.train(training, 2)
    training.run.close()
    state = training.run.state
    saved = seen(state.capture())
    for part, value in state.capture().items():
        tensors: dict[str, torch.Tensor] = {}
        encode(value, part, tensors)
        for path, tensor in tensors.items():
            raw = tensor.reshape(-1).view(torch.uint8)
            raw[0] ^= 1
            found = changed_leaves(saved, state.capture())
            assert any(each.startswith(f"{path}: ") for each in found), path
            raw[0] ^= 1
    assert () == changed_leaves(saved, state.capture())
