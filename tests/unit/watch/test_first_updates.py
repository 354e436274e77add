"""After a resume, frozen rows stay where they are, and what is trained gets gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unbroken.watch.first_updates import STEPS, FirstUpdates


class Training:
    """A table whose first two rows are frozen, and a head; both have learnt before."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.table = nn.Parameter(torch.randn(5, 3))
        self.head = nn.Parameter(torch.randn(3))
        self.unused = nn.Parameter(torch.randn(2))
        trained = {"m.table": self.table, "m.head": self.head, "m.unused": self.unused}
        self.optimizer = torch.optim.SGD(trained.values(), lr=0.1, momentum=0.9)
        self.masked = [0, 1]
        self.detached: set[str] = set()
        self.step()
        frozen = {"m.table": slice(0, 2), "m.buffer": None}
        self.looked = FirstUpdates(trained, frozen, [self.optimizer])

    def backward(self) -> None:
        self.optimizer.zero_grad()
        loss = (self.table @ self.head.detach()).square().sum()
        if "head" not in self.detached:
            loss = loss + self.head.square().sum()
        loss.backward()
        assert self.table.grad is not None
        self.table.grad[self.masked] = 0.0

    def step(self) -> None:
        self.backward()
        self.optimizer.step()

    def look(self) -> tuple[list[str], dict[str, bool]]:
        self.backward()
        without = self.looked.before()
        self.optimizer.step()
        return without, self.looked.after()


def test_a_mask_that_holds_raises_nothing() -> None:
    """Frozen rows without a gradient or momentum stay, and all that trains has a gradient at once."""
    training = Training()
    training.looked._waiting.remove("m.unused")
    assert ([], {}) == training.look()
    assert training.looked.is_over


def test_a_mask_that_was_lost_shows_in_the_first_update() -> None:
    """The rows moved, and they had a gradient."""
    training = Training()
    training.masked = []
    assert ([], {"m.table[0:2]": True}) == training.look()
    assert ([], {}) == training.look()


def test_decay_moves_rows_without_a_gradient() -> None:
    """The rows moved, and no gradient moved them."""
    training = Training()
    training.optimizer.param_groups[0]["weight_decay"] = 0.1
    assert ([], {"m.table[0:2]": False}) == training.look()


@pytest.mark.parametrize("cut", ["detached", "masked"])
def test_what_learnt_before_and_gets_nothing_is_told_after_a_hundred_steps(cut: str) -> None:
    """A part that is cut off, or rows under a mask that is the wrong way round; unused ones are not told."""
    training = Training()
    training.optimizer.param_groups[0]["lr"] = 1e-3
    if cut == "masked":
        training.masked = [2, 3, 4]
    else:
        training.detached = {"head"}
    told = [training.look()[0] for _ in range(STEPS)]
    assert [[]] * (STEPS - 1) == told[:-1]
    assert ["m.table" if cut == "masked" else "m.head"] == told[-1]
    assert training.looked.is_over
