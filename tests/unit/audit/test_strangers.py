"""What is trained beside the run is refused by its name; what only needs a gradient is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import unbroken
from support.audited import order, told

Loss = Callable[[nn.Module, torch.Tensor], torch.Tensor]


def trained(
    directory: Path, loss: Loss, after: Callable[[], object] = lambda: None, steps: int = 3
) -> int:
    """Train a model with a loss of its own; return the steps that were completed."""
    model = nn.Linear(4, 4)
    optimizer = torch.optim.Adam(model.parameters())
    run = unbroken.Run(directory, order=order(), model=model, optimizer=optimizer, save_every=0)
    run.resume()
    try:
        for step in run.steps(steps):
            for _ in step.micro_batches(4):
                step.backward(loss(model, torch.randn(4, 4)))
            step.update()
            after()
    finally:
        run.close()
    return run.position.step


def test_an_undeclared_model_is_refused_by_its_name_before_the_first_update(tmp_path: Path) -> None:
    """As the program calls it; nothing was updated."""
    critic = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    critic_optimizer = torch.optim.Adam(critic.parameters())
    before = copy.deepcopy(critic.state_dict())
    with pytest.raises(unbroken.NotEncodable) as caught:
        trained(tmp_path / "run", lambda model, x: critic(model(x)).mean(), critic_optimizer.step)
    assert caught.value.what.startswith("critic.")
    assert "critic_optimizer (Adam)" in caught.value.what
    assert all(torch.equal(each, before[name]) for name, each in critic.state_dict().items())


@pytest.mark.parametrize("as_parameter", [True, False])
def test_an_undeclared_temperature_is_refused(tmp_path: Path, as_parameter: bool) -> None:
    """Belonging to no module, it goes by the name that the loop gives it."""
    temperature = torch.full((1,), 0.07, requires_grad=not as_parameter)
    temperature = nn.Parameter(temperature) if as_parameter else temperature
    its_own = torch.optim.SGD([temperature], lr=0.1)
    with pytest.raises(unbroken.NotEncodable, match=r"^temperature belongs to no part"):
        trained(tmp_path / "run", lambda model, x: (model(x) / temperature).mean(), its_own.step)


def test_a_loop_that_goes_backward_by_itself_is_refused_at_the_second_update(
    tmp_path: Path,
) -> None:
    """There the graph is not seen; the optimizer that nobody declared is."""
    model, critic = nn.Linear(4, 4), nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters())
    its_own = torch.optim.Adam(critic.parameters())
    run = unbroken.Run(tmp_path / "run", order=order(), model=model, optimizer=optimizer)
    run.resume()

    def one_step() -> None:
        run.begin_step()
        run.seed_micro_batch()
        loss = critic(model(torch.randn(8, 4))).mean()
        loss.backward()
        run.micro_batch_done(8)
        optimizer.step()
        its_own.step()
        run.end_step({"loss": loss.item()}, rate=0.1)

    one_step()
    with pytest.raises(unbroken.NotEncodable, match=r"^critic\.\w+ belongs to no part"):
        one_step()
    run.close()


def penalty(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return a loss with a penalty on the gradient by its input."""
    x.requires_grad_()
    out: torch.Tensor = model(x).sum()
    (slope,) = torch.autograd.grad(out, x, create_graph=True)
    loss: torch.Tensor = out + (slope.norm() - 1) ** 2
    return loss


def adversarial(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the loss of an example that was moved against the model."""
    delta = nn.Parameter(torch.zeros_like(x))
    model(x + delta).square().mean().backward()
    assert delta.grad is not None
    delta.data += 0.1 * delta.grad.sign()
    loss: torch.Tensor = model(x + delta).square().mean()
    return loss


POINTS = torch.randn(8, 4, requires_grad=True)


def at_fixed_points(model: nn.Module, _: torch.Tensor) -> torch.Tensor:
    """Return a loss at points that are always the same and need gradients, as an equation's residual."""
    return penalty(model, POINTS)


TEACHER = nn.Linear(4, 4)
"""Not frozen, but nobody trains it."""


def perceptual(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return a loss that goes through another model."""
    loss: torch.Tensor = (TEACHER(model(x)) - TEACHER(x)).square().mean()
    return loss


def inner_loop(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return a loss after a few steps of a copy with an optimizer of its own."""
    inner = copy.deepcopy(model)
    inner_optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
    for _ in range(2):
        inner_optimizer.zero_grad()
        inner(x).square().mean().backward()
        inner_optimizer.step()
    loss: torch.Tensor = (model(x) - inner(x).detach()).square().mean()
    return loss


@pytest.mark.parametrize("loss", [penalty, adversarial, at_fixed_points, perceptual, inner_loop])
def test_what_only_needs_a_gradient_is_not_refused(tmp_path: Path, loss: Loss) -> None:
    """Inputs, examples, points, a loss network, a copy that is thrown away."""
    assert 3 == trained(tmp_path / "run", loss, steps=3)


def test_what_is_moved_by_hand_is_told() -> None:
    """No optimizer holds it, but it is another after two steps."""
    delta = torch.zeros(4, requires_grad=True)

    def ascend() -> None:
        assert delta.grad is not None
        with torch.no_grad():
            delta.add_(delta.grad)

    found = told(nn.Linear(4, 4), lambda: torch.randn(4, 4) + delta, after_step=ascend)
    assert ["delta"] == [each["path"] for each in found]


def test_another_training_in_this_process_is_none_of_the_runs(tmp_path: Path) -> None:
    """What is updated between two steps of the run is not its own."""
    other = nn.Linear(4, 1)
    its_optimizer = torch.optim.Adam(other.parameters())

    def train_the_other() -> None:
        other(torch.randn(4, 4)).square().mean().backward()
        its_optimizer.step()

    before = other.weight.detach().clone()
    assert 3 == trained(
        tmp_path / "run", lambda model, x: model(x).square().mean(), train_the_other, steps=3
    )
    assert not torch.equal(before, other.weight)


def test_an_optimizer_that_is_built_anew_is_told_from_an_undeclared_model(tmp_path: Path) -> None:
    """The parameter is declared, its second optimizer is not: both are named as the program calls them."""
    model = nn.Linear(4, 1)
    first = torch.optim.Adam(model.parameters())
    run = unbroken.Run(tmp_path / "run", order=order(), model=model, optimizer=first)
    run.resume()
    anew = torch.optim.Adam(model.parameters())

    def train() -> None:
        for step in run.steps(4):
            for _ in step.micro_batches(8):
                step.backward(model(torch.ones(2, 4)).square().mean())
            anew.step()
            step.end()

    with pytest.raises(unbroken.UnbrokenError, match=r"isn't declared|not declared") as caught:
        train()
    assert "belongs to no part" not in caught.value.what
    run.close()
