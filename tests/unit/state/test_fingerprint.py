"""A fingerprint shows whether weights, statistics, averages and modes are what they were."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from unbroken.state.fingerprint import (
    AVERAGES,
    BUFFERS,
    KEPT,
    MODES,
    NAMES,
    WEIGHTS,
    StepFingerprint,
)
from unbroken.state.modules import ModulePart
from unbroken.state.parts import PlainPart


class Small(nn.Module):
    """A layer, running statistics, dropout, and what is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5)
        self.norm = nn.BatchNorm1d(5)
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


class Table:
    """An object that keeps tensors by name and in a list."""

    def __init__(self) -> None:
        self.rows, self.last = {"a": torch.ones(3)}, [torch.ones(2)]

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.last = state["rows"], state["last"]


TABLE = Table()


def small() -> tuple[Small, AveragedModel, StepFingerprint]:
    torch.manual_seed(1)
    model = Small()
    average = AveragedModel(model)
    parts = {
        "model": ModulePart("model", model),
        "ema": ModulePart("ema", average),
        "table": PlainPart("table", TABLE),
    }
    return model, average, StepFingerprint(parts, dict(model.named_parameters()))


def told(fingerprint: StepFingerprint) -> dict[str, float]:
    fingerprint.record()
    return fingerprint.summary()


def test_each_kind_has_a_number() -> None:
    """Weights, buffers, averages, other tensors and modes, under the names of the journal."""
    _, _, fingerprint = small()
    found = told(fingerprint)
    assert set(NAMES) == set(found)
    assert 0 == found[MODES]
    assert all(math.isfinite(each) for each in found.values())


def test_the_same_is_told_of_the_same() -> None:
    """Looking changes nothing, and what was brought to the host beforehand tells the same."""
    _, _, fingerprint = small()
    first = told(fingerprint)
    fingerprint.record()
    assert fingerprint.entries is not None
    assert first == fingerprint.summary(fingerprint.entries.tolist())


def test_what_is_changed_changes_its_own_number() -> None:
    """An update, moved statistics, an average and a mode show each in one number alone."""
    model, average, fingerprint = small()
    before = told(fingerprint)

    def changed() -> list[str]:
        nonlocal before
        now = told(fingerprint)
        names = [name for name in NAMES if now[name] != before[name]]
        before = now
        return names

    with torch.no_grad():
        model.layer.weight.mul_(1 + 1e-6)
        assert [WEIGHTS] == changed()
        model.get_buffer("norm.running_mean").add_(1e-3)
        assert [BUFFERS] == changed()
        average.module.get_parameter("layer.bias").add_(1e-3)
        assert [AVERAGES] == changed()
    for kept in (TABLE.rows["a"], TABLE.last[0]):
        kept.mul_(2.0)
        assert [KEPT] == changed()
    model.dropout.eval()
    assert [MODES] == changed()
    model.scratch.add_(1.0)  # type: ignore[operator]  # a tensor
    assert [] == changed()


def test_a_tensor_that_is_put_in_its_place_is_looked_at() -> None:
    """A module may replace what it keeps, and a tensor its memory."""
    model, _, fingerprint = small()
    first = told(fingerprint)
    model.norm.running_var = torch.full((5,), 7.0)
    model.layer.weight.data = torch.ones(5, 3)
    now = told(fingerprint)
    assert first[BUFFERS] != now[BUFFERS]
    assert first[WEIGHTS] != now[WEIGHTS]


def test_nothing_is_told_of_nothing() -> None:
    """Without models, or after the step was told, there are no numbers."""
    assert {} == told(StepFingerprint({}, {}))
    _, _, fingerprint = small()
    assert told(fingerprint)
    assert {} == fingerprint.summary()


def test_what_can_not_be_looked_at_is_left_out() -> None:
    """Integers, empty tensors and tensors that lie in pieces tell nothing, and break nothing."""
    model = nn.Module()
    model.weight = nn.Parameter(torch.ones(4, 4).t()[:, :2])
    model.register_buffer("count", torch.tensor(3))
    model.register_buffer("none", torch.zeros(0))
    fingerprint = StepFingerprint({"m": ModulePart("m", model)}, {"m.weight": model.weight})
    assert {MODES: 0} == told(fingerprint)


def test_what_is_not_finite_is_told() -> None:
    """A weight that became infinite makes an infinite number, not an error."""
    model, _, fingerprint = small()
    with torch.no_grad():
        model.layer.weight.fill_(math.inf)
    assert math.inf == told(fingerprint)[WEIGHTS]


def test_a_start_looks_at_what_the_one_before_looked_at() -> None:
    """Pruning gives a weight another name and a mask; a start after it chooses among the same tensors."""
    model, _, _ = small()
    resumed = StepFingerprint({"model": ModulePart("model", model)}, dict(model.named_parameters()))
    alone = StepFingerprint({"model": ModulePart("model", model)}, dict(model.named_parameters()))
    told(alone)
    prune.l1_unstructured(model.layer, "weight", 0.5)
    model.norm.register_buffer("late", torch.ones(9))
    assert told(alone) == told(resumed)
