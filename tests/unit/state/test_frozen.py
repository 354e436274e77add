"""What nothing may move: its digest, and what could reach it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from unbroken.state.frozen import frozen_digests, reached
from unbroken.state.parts import make_parts

ROWS = {"model.table.weight": slice(0, 3)}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 2)
        self.register_buffer("base", torch.ones(4))


def parts(
    weight_decay: float, momentum: float = 0.0
) -> tuple[Model, torch.optim.Optimizer, dict[str, Any]]:
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum, weight_decay=weight_decay)
    return model, optimizer, make_parts({"model": model, "optimizer": optimizer})


def test_a_row_that_moved_changes_its_digest_and_others_do_not() -> None:
    """The digest is of the frozen rows alone."""
    model, _, made = parts(0.0)
    before = frozen_digests(made, ROWS)
    with torch.no_grad():
        model.table.weight[3] += 1
    assert before == frozen_digests(made, ROWS)
    with torch.no_grad():
        model.table.weight[2, 1] += 1e-6
    assert before != frozen_digests(made, ROWS)
    assert {"model.table.weight[0:3]"} == set(before)


@pytest.mark.parametrize(
    ("weight_decay", "momentum", "expected"),
    [(0.0, 0.0, []), (0.1, 0.0, ["decays by 0.1"]), (0.0, 0.9, ["has momentum"])],
)
def test_a_masked_gradient_does_not_stop_decay_or_momentum(
    weight_decay: float, momentum: float, expected: list[str]
) -> None:
    """What moves rows under a gradient of zero is named."""
    model, optimizer, made = parts(weight_decay, momentum)
    model.table.weight.grad = torch.ones_like(model.table.weight)
    optimizer.step()  # leaves momentum behind
    model.table.weight.grad[:3] = 0
    found = reached(made, ROWS)
    assert len(expected) == len(found)
    assert all(part in each for part, each in zip(expected, found, strict=True))


def test_a_gradient_in_frozen_rows_is_named() -> None:
    """The mask failed."""
    model, _, made = parts(0.0)
    model.table.weight.grad = torch.zeros_like(model.table.weight)
    assert [] == reached(made, ROWS)
    model.table.weight.grad[2, 0] = 1e-9
    assert ["model.table.weight[0:3]: has a gradient"] == reached(made, ROWS)


def test_a_whole_tensor_is_reached_by_what_moves_it_and_not_by_being_held() -> None:
    """An optimiser may hold a frozen tensor: a zero gradient moves it only with decay or momentum."""
    model, _, made = parts(0.0)
    assert [] == reached(made, {"model.base": None, "model.table.weight": None})
    model.table.weight.grad = torch.ones_like(model.table.weight)
    assert ["model.table.weight: has a gradient"] == reached(made, {"model.table.weight": None})
    model, _, made = parts(0.1)
    found = reached(made, {"model.table.weight": None})
    assert ["model.table.weight: decays by 0.1 in optimizer.groups.0"] == found
    model.table.weight.requires_grad_(False)
    assert [] == reached(made, {"model.table.weight": None})
    assert ["model.gone: is not in the model"] == reached(made, {"model.gone": None})


def test_an_optimiser_that_decays_by_itself_is_named() -> None:
    """ASGD's `lambd` moves every row a little at each update."""
    model, _, _ = parts(0.0, 0.0)
    averaging = torch.optim.ASGD(model.parameters())
    made = make_parts({"model": model, "optimizer": averaging})
    assert any("decays by 0.0001 in optimizer.groups.0" in each for each in reached(made, ROWS))
