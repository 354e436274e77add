"""The sketch of the gradients: a number that journals of earlier versions have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unbroken.run.gradient_sketch import GradientSketch

GOLDEN = 329.1564977332211


def stepped(dtype: torch.dtype, groups: int) -> float:
    """Return the sketch of 29 gradients; one is expanded, so that its entries don't lie in a row."""
    parameters = [torch.nn.Parameter(torch.zeros(3, n, dtype=dtype)) for n in range(1, 30)]
    for each in parameters:
        each.grad = torch.arange(each.numel(), dtype=dtype).reshape(each.shape)
    parameters[4].grad = torch.ones(1, dtype=dtype).expand(3, 5)
    cut = len(parameters) // groups
    made: list[Any] = [{"params": parameters[:cut]}, {"params": parameters[cut:]}][:groups]
    optimizer = torch.optim.SGD(made, lr=0.1)
    state: Any = SimpleNamespace(optimizer_steps=SimpleNamespace(name_of=lambda _: "optimizer"))
    sketch = GradientSketch(state, lambda: None)
    sketch.begin()
    optimizer.step()
    return sketch.end().norm


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_golden_sketch(dtype: torch.dtype, groups: int) -> None:
    """These entries make this number, to the last bit, in any dtype that holds them."""
    assert stepped(dtype, groups) == GOLDEN
