"""Isolation: what happens inside changes nothing outside."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from unbroken import isolated


def draws() -> tuple[float, float, float]:
    """Draw once from every global generator."""
    return float(torch.rand(())), float(np.random.random()), random.random()  # noqa: NPY002, S311


def seed() -> None:
    """Set every global generator."""
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt, MemoryError])
def test_modes_and_randomness_are_put_back(error: type[BaseException] | None) -> None:
    """Each submodule gets its own mode back and each generator its state, also after an error."""
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()), nn.Linear(2, 2))
    model[1].eval()
    modes = [each.training for each in model.modules()]
    seed()
    expected = draws()
    seed()

    def inside() -> None:
        with isolated(model, seed=9):
            assert not any(each.training for each in model.modules())
            draws()
            if error is not None:
                raise error

    if error is None:
        inside()
    else:
        with pytest.raises(error):
            inside()
    assert modes == [each.training for each in model.modules()]
    assert expected == draws()


def test_randomness_inside_depends_on_the_seed_alone() -> None:
    """What is drawn inside doesn't depend on what was drawn before."""
    found = []
    for _ in range(2):
        draws()
        with isolated(seed=4):
            found.append(draws())
    assert found[0] == found[1]
