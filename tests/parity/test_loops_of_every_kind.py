"""Loops whose update is not one optimiser once a step: killed anywhere and resumed, the same training."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus
from torch.optim import lr_scheduler as rates

import unbroken
from unbroken.run.update import Updater
from unbroken.testing import assert_resume_is_exact

SAMPLES, EFFECTIVE = 12, 4
DATA = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(3))


def order() -> unbroken.StepBatches:
    """Return the step batches of every training here."""
    names = [f"sample-{i}" for i in range(SAMPLES)]
    return unbroken.StepBatches(names, lengths=None, effective_batch=EFFECTIVE, seed=1)


def gan(directory: Path, until: int) -> Any:
    """Two models, two updates of the critic a step, accumulation in both."""
    torch.manual_seed(0)
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    g = torch.optim.Adam(generator.parameters(), 1e-2)
    d = torch.optim.Adam(critic.parameters(), 1e-2)
    run = unbroken.Run(
        directory,
        order=order(),
        model={"generator": generator, "critic": critic},
        optimizer={"g": g, "d": d},
        save_every=0,
    )
    run.resume()
    for step in run.steps(until):
        for micro in step.micro_batches(2):
            real = DATA[list(micro.indices)]
            for _ in range(2):
                fake = generator(torch.randn(2, 2)).detach()
                (softplus(-critic(real)) + softplus(critic(fake))).sum().backward()
            if micro.position.samples:
                d.step()
                d.zero_grad()
            kept = [each.grad for each in critic.parameters()]
            step.backward(softplus(-critic(generator(torch.randn(2, 2)))).sum() / EFFECTIVE)
            for parameter, gradient in zip(critic.parameters(), kept, strict=True):
                parameter.grad = gradient if gradient is None else gradient.clone()
        step.update(optimizers=["g"])
    run.close()
    return locals()


def lbfgs(directory: Path, until: int) -> Any:
    """An optimiser that evaluates the loss as often as it likes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.2), nn.Linear(3, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3, history_size=3)
    run = unbroken.Run(directory, order=order(), model=model, optimizer=optimizer, save_every=0)
    run.resume()
    for step in run.steps(until):

        def closure(step: unbroken.Step = step) -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = (model(DATA[list(step.indices)]) - 1).square().mean()
            loss.backward()
            return loss

        step.update(closure=closure)
    run.close()
    return locals()


class Sharpness(torch.optim.SGD):
    """Goes up the gradient, evaluates there, and updates from where it was: two evaluations a step."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]  # SAM needs a closure
        loss = torch.enable_grad()(closure)()
        before = [p.detach().clone() for group in self.param_groups for p in group["params"]]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for each in parameters:
            each.add_(each.grad, alpha=0.05)
        torch.enable_grad()(closure)()
        for each, old in zip(parameters, before, strict=True):
            each.copy_(old)
        super().step()
        return loss


def sam(directory: Path, until: int) -> Any:
    """Two forward and backward passes a step, by hand, in the loop's own way."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = Sharpness(model.parameters(), lr=0.05, momentum=0.9)
    run = unbroken.Run(directory, order=order(), model=model, optimizer=optimizer, save_every=0)
    run.resume()
    for step in run.steps(until):
        for _ in step.micro_batches(2):
            pass  # the batch is read in pieces, and evaluated as a whole

        def closure(step: unbroken.Step = step) -> torch.Tensor:
            optimizer.zero_grad()
            loss: torch.Tensor = model(DATA[list(step.indices)]).square().mean()
            loss.backward()
            return loss

        loss = optimizer.step(closure)
        step.end({"loss": loss.item()})
    run.close()
    return locals()


class Curvature(torch.optim.SGD):
    """Divides the gradient by a running estimate of the curvature, as AdaHessian does."""

    def step(self) -> None:  # type: ignore[override]  # it takes no closure
        parameters = [p for group in self.param_groups for p in group["params"]]
        noise = [torch.randint_like(p, 2) * 2 - 1 for p in parameters]
        with torch.enable_grad():
            products = torch.autograd.grad([p.grad for p in parameters], parameters, noise)
        for p, z, product in zip(parameters, noise, products, strict=True):
            curvature = self.state[p].setdefault("curvature", torch.ones_like(p))
            curvature.mul_(0.9).add_((z * product).abs(), alpha=0.1)
            p.data.addcdiv_(p.grad.detach(), curvature, value=-0.05)


def second_order(directory: Path, until: int) -> Any:
    """Gradients that have a graph."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = Curvature(model.parameters(), lr=0.05)
    run = unbroken.Run(directory, order=order(), model=model, optimizer=optimizer, save_every=0)
    run.resume()
    for step in run.steps(until):
        for micro in step.micro_batches(2):
            loss = model(DATA[list(micro.indices)]).square().sum() / EFFECTIVE
            step.backward(loss, create_graph=True)
        step.update()
    run.close()
    return locals()


def carried(directory: Path, until: int) -> Any:
    """A loop of its own that applies the gradients of two steps at once."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    run = unbroken.Run(directory, order=order(), model=model, optimizer=optimizer, save_every=0)
    run.resume()
    while run.position.step < until:
        step = run.begin_step()
        if step.number % 2 == 1:
            optimizer.zero_grad()
        run.seed_micro_batch()
        step.backward(model(DATA[list(step.indices)]).square().mean())
        run.micro_batch_done(len(step.indices))
        if step.number % 2 == 0:
            optimizer.step()
        run.end_step(step.losses())
    run.close()
    return locals()


class ByUpdates:
    """A schedule of timm's kind: it is told how many updates were made."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.seen = 0

    def step_update(self, num_updates: int) -> None:
        self.seen = num_updates
        for group in self.optimizer.param_groups:
            group["lr"] = 0.1 / (1 + num_updates)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def nested(optimizer: torch.optim.Optimizer) -> Any:
    """A warm-up, then a decay."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR warns of its own inner calls
        return rates.SequentialLR(
            optimizer,
            [rates.LinearLR(optimizer, 0.1, 1.0, 2), rates.ExponentialLR(optimizer, 0.8)],
            milestones=[2],
        )


SCHEDULES: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "by scores": lambda o: rates.ReduceLROnPlateau(o, factor=0.5, patience=0),
    "nested": nested,
    "timm": ByUpdates,
}


def scheduled(name: str) -> Callable[[Path, int], Any]:
    """Return a training with one of the schedules."""

    def train(directory: Path, until: int) -> Any:
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = SCHEDULES[name](optimizer)
        run = unbroken.Run(
            directory,
            order=order(),
            model=model,
            optimizer=optimizer,
            scheduler=schedule,
            save_every=0,
        )
        run.resume()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # SequentialLR calls its own deprecated form
            for step in run.steps(until):
                for micro in step.micro_batches(2):
                    step.backward(model(DATA[list(micro.indices)]).square().sum() / EFFECTIVE)
                step.update(score=1.0 + step.number % 2)
        run.close()
        return locals()

    return train


KINDS = {
    "GAN": gan,
    "LBFGS": lbfgs,
    "SAM": sam,
    "create_graph": second_order,
    "gradients of two steps": carried,
    **{f"schedule: {name}": scheduled(name) for name in SCHEDULES},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_anywhere_changes_nothing(kind: str) -> None:
    """Stopped at every place where the run can be saved and resumed, everything alive is the same."""
    assert_resume_is_exact(KINDS[kind], steps=4)


def test_the_schedules_move() -> None:
    """The comparisons above would tell nothing of a rate that stays."""
    for name, make in SCHEDULES.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        updater = Updater([optimizer], [make(optimizer)], None)
        seen = set()
        for number in range(4):
            optimizer.step()
            updater.move_schedules(number + 1, 1.0 + number % 2)
            seen.add(optimizer.param_groups[0]["lr"])
        assert len(seen) > 1, name
