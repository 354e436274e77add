"""What an unfinished step has gathered comes back: partial sums and partial gradients."""

from __future__ import annotations

import torch
from torch import nn

from support.sameness import same
from support.state_copy import hand_over
from unbroken.state.accumulation import PartialSums, gradients, put_gradients
from unbroken.state.training_state import TrainingState


def unfinished() -> tuple[nn.Linear, TrainingState]:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, TrainingState({"model": model, "optimizer": optimizer}, [optimizer])


def test_partial_gradients_and_sums_come_back() -> None:
    """A step that was left in its middle is completed as it would have been."""
    old, old_state = unfinished()
    old(torch.ones(2, 3)).sum().backward()
    old.bias.grad = None
    old_state.sums.add("loss", torch.tensor(1.5))
    old_state.sums.add("tokens", 3)
    new, new_state = unfinished()
    new(torch.ones(1, 3)).sum().backward()
    hand_over(old_state, new_state)
    assert old.weight.grad is not None
    assert new.weight.grad is not None
    assert torch.equal(old.weight.grad, new.weight.grad)
    assert new.bias.grad is None
    assert same(old_state.sums.values, new_state.sums.values)


def test_a_number_is_summed_without_loss() -> None:
    """A Python float keeps its 64 bits in the sum."""
    sums = PartialSums()
    sums.add("share", 0.1)
    sums.add("share", 0.2)
    assert 0.1 + 0.2 == sums.values["share"].item()


def test_a_sum_is_not_the_tensor_that_was_added() -> None:
    """What the loop does with its loss afterwards changes no sum, and no graph is kept."""
    sums = PartialSums()
    loss = torch.tensor(1.0, requires_grad=True)
    sums.add("loss", loss * 2)
    first = torch.tensor(5.0)
    sums.add("other", first)
    first.zero_()
    assert (2.0, 5.0) == (sums.values["loss"].item(), sums.values["other"].item())
    assert not sums.values["loss"].requires_grad
    sums.clear()
    assert {} == sums.state_dict()


def test_gradients_are_put_into_memory_of_their_own() -> None:
    """A restored gradient shares nothing with what was read."""
    parameter = nn.Parameter(torch.zeros(2))
    saved = {"p": torch.ones(2)}
    put_gradients({"p": parameter}, saved)
    saved["p"].zero_()
    assert [1.0, 1.0] == gradients({"p": parameter})["p"].tolist()
