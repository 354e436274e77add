"""Every step of an optimizer is told to whoever listens, and to nobody who is gone."""

from __future__ import annotations

import torch

from unbroken.state.step_hooks import tell_after, tell_before, tell_no_more


class Ear:
    """Counts what it is told, and lets go of other listeners."""

    def __init__(self) -> None:
        self.before = self.after = 0
        self.others: list[Ear] = []

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Count an update that comes."""
        del optimizer
        self.before += 1

    def took(self, optimizer: torch.optim.Optimizer) -> None:
        """Count an update that was made."""
        del optimizer
        self.after += 1
        self.others.clear()


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def test_each_step_is_told_until_it_is_asked_no_more() -> None:
    """Before and after it."""
    ear, other = Ear(), optimizer()
    tell_before(ear)
    tell_after(ear)
    other.step()
    tell_no_more(ear)
    other.step()
    assert (1, 2) == (ear.before, ear.after)


def test_listeners_that_end_within_a_step_break_none() -> None:
    """A run may end at any moment, also while PyTorch goes through its hooks."""
    ear = Ear()
    tell_after(ear)
    for _ in range(5):
        ear.others = [Ear() for _ in range(3)]
        for each in ear.others:
            tell_after(each)
        optimizer().step()
    assert 5 == ear.after
