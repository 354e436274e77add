"""What optimisers keep, in whatever form: each kind goes on exactly, or is refused by name at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

import unbroken
from support.sameness import same

Make = Callable[[nn.Module], Any]


class Own(torch.optim.Optimizer):
    """An optimiser whose moment is kept by `keep`, a way of its own."""

    def __init__(self, parameters: Any, rate: float = 1e-2, **options: Any) -> None:
        super().__init__(parameters, {"lr": rate, **options})

    def keep(self, state: dict[str, Any], gradient: torch.Tensor) -> torch.Tensor:
        average: torch.Tensor = state.setdefault("average", torch.zeros_like(gradient))
        return average.lerp_(gradient, 0.1)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002  # as most do
        for group in self.param_groups:
            for each in group["params"]:
                if each.grad is not None:
                    each.sub_(self.keep(self.state[each], each.grad), alpha=group["lr"])


class OneNumber(Own):
    def keep(self, state: dict[str, Any], gradient: torch.Tensor) -> torch.Tensor:
        """One second moment for the whole parameter, as NovoGrad has."""
        second = state.setdefault("exp_avg_sq", torch.zeros([]))
        second.lerp_(gradient.square().sum(), 0.1)
        return super().keep(state, gradient / (second.sqrt() + 1e-8))


class GroupCounter(Own):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # as above
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            group["lr"] = 0.1 / group["step"]
        super().step(closure)


class Packs(Own):
    """Gives its moments packed, and unpacks them when it takes them back."""

    def state_dict(self) -> dict[str, Any]:
        plain = super().state_dict()
        return {**plain, "state": {key: {"packed": each} for key, each in plain["state"].items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        states = state_dict["state"].items()
        super().load_state_dict(
            {**state_dict, "state": {key: each["packed"] for key, each in states}}
        )


class Attribute(Own):
    """Counts in an attribute and draws from generators of its own: its `state_dict()` has neither."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters)
        self.seen = 0
        self.generator = torch.Generator().manual_seed(3)
        self.of_numpy = np.random.default_rng(3)
        self.of_python = random.Random(3)  # noqa: S311  # no secret
        self.by_parameter: dict[torch.Tensor, float] = {}

    def keep(self, state: dict[str, Any], gradient: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        noise = torch.rand((), generator=self.generator)
        noise = noise + self.of_numpy.random() + self.of_python.random()
        average: torch.Tensor = super().keep(state, gradient) * noise / self.seen
        self.by_parameter[self.param_groups[0]["params"][0]] = float(noise)
        return average


class Projector:
    """An object of the optimiser's own package."""

    def __init__(self, gradient: torch.Tensor) -> None:
        self.basis = torch.linalg.svd(gradient.reshape(len(gradient), -1))[0]
        self.uses = 0


class Projecting(Own):
    def keep(self, state: dict[str, Any], gradient: torch.Tensor) -> torch.Tensor:
        projector = state.setdefault("projector", Projector(gradient))
        projector.uses += 1
        flat = gradient.reshape(len(gradient), -1)
        basis: torch.Tensor = projector.basis
        projected: torch.Tensor = (basis @ basis.mT @ flat).view_as(gradient)
        return projected.div(int(projector.uses))


class Around(Own):
    """Steps an optimiser inside, and doesn't mention it in its `state_dict()`."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters)
        self.base = torch.optim.Adam(self.param_groups, lr=1e-2)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002  # as above
        self.base.step()


def by_hooks(model: nn.Module) -> torch.optim.Optimizer:
    """Give numbers as texts, and take them so."""
    made = Own(model.parameters())

    def give(_: Any, plain: dict[str, Any]) -> dict[str, Any]:
        return {"told": plain}

    def take(_: Any, plain: dict[str, Any]) -> dict[str, Any]:
        return dict(plain["told"])

    made.register_state_dict_post_hook(give)
    made.register_load_state_dict_pre_hook(take)
    return made


def over(kind: type[Own]) -> Make:
    return lambda model: kind(model.parameters())


class Training:
    """A run of an optimiser over a small model, as a start builds it."""

    def __init__(self, directory: Path, make: Make, **given: Any) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))
        self.head = nn.Linear(6, 1)
        self.optimizer = make(self.model)
        self.run = unbroken.Run(
            directory,
            order=unbroken.StepBatches([f"s{i}" for i in range(40)], None, 4, 1),
            model={"model": self.model, "head": self.head},
            optimizer=self.optimizer,
            save_every=0,
            **given,
        )

    def until(self, last: int, after: Callable[[int], None] = lambda _: None) -> None:
        data = torch.linspace(-1, 1, 240).view(40, 6)
        for step in self.run.steps(last):
            for micro in step.micro_batches(4):
                x = data[list(micro.indices)]
                step.backward((self.model(x) + self.head(x)).square().mean())
            step.update()
            self.head.zero_grad()
            after(step.number)


KINDS: dict[str, Make] = {
    "a moment of another shape": over(OneNumber),
    "counters and rates in its groups": over(GroupCounter),
    "a packed form": over(Packs),
    "hooks around its form": by_hooks,
    "attributes and a generator of its own": over(Attribute),
    "an object with a matrix by columns": over(Projecting),
    "an optimiser inside": over(Around),
}


@pytest.mark.parametrize("kind", KINDS)
def test_goes_on_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    """Whatever it keeps and however: saved, built anew and gone on with, it is the same training."""
    whole = Training(tmp_path / "whole", KINDS[kind])
    whole.run.resume()
    whole.until(6)
    first = Training(tmp_path / "run", KINDS[kind])
    first.run.resume()
    first.until(3)
    first.run.save()
    second = Training(tmp_path / "run", KINDS[kind])
    first.run.close()
    report = second.run.resume()
    assert not [each.id for each in report.checks.findings if each.outcome == "differs"]
    second.until(6)
    assert same(whole.run.state.capture(), second.run.state.capture())
    for each in (whole, second):
        each.run.close()


class Loses(Own):
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "state": {}})

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "own": 1}


class Fails(Own):
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # noqa: ARG002  # as torch's
        raise KeyError("master")


class Holds(Own):
    def keep(self, state: dict[str, Any], gradient: torch.Tensor) -> torch.Tensor:
        state["handle"] = open  # any object that can't be saved
        return super().keep(state, gradient)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Loses, r"what load_state_dict\(\) took is not what state_dict\(\) gave: optimizer\.state"),
        (Fails, r"did not take its saved state: KeyError: 'master'"),
        (Holds, r"optimizer\.state\.model\.0\.weight\.handle is a builtins"),
    ],
)
def test_what_could_not_be_resumed_is_refused_after_the_first_step(
    kind: type[Own], message: str, tmp_path: Path
) -> None:
    """Nobody trains for weeks into checkpoints that no start can read."""
    training = Training(tmp_path, over(kind))
    training.run.resume()
    with pytest.raises(unbroken.NotEncodable, match=message):
        training.until(5)
    assert 1 == training.run.position.step
    training.run.close()


def test_a_group_that_is_added_while_training_comes_back(tmp_path: Path) -> None:
    """A head that is thawed at step 2 is trained on after a resume, with its options and moments."""

    def train(directory: Path, until: int) -> dict[str, Any]:
        training = Training(directory, lambda model: torch.optim.Adam(model.parameters()))
        training.run.resume()

        def thaw(step: int) -> None:
            if step == 2:
                head = training.head.parameters()
                training.optimizer.add_param_group({"params": head, "lr": 0.05})

        training.until(until, thaw)
        training.run.save()
        training.run.close()
        return training.run.state.capture()

    train(tmp_path / "run", 4)
    assert same(train(tmp_path / "whole", 6), train(tmp_path / "run", 6))


def test_optimizers_that_step_at_their_own_rate_are_healthy(tmp_path: Path) -> None:
    """A critic that steps twice in a step, or later, is compared with itself."""
    torch.manual_seed(0)
    for until in (4, 8):
        maker, critic = nn.Linear(2, 4), nn.Linear(4, 1)
        own = torch.optim.Adam(critic.parameters(), 1e-3)
        run = unbroken.Run(
            tmp_path,
            order=unbroken.StepBatches([f"s{i}" for i in range(40)], None, 4, 1),
            model={"maker": maker, "critic": critic},
            optimizer=torch.optim.Adam(maker.parameters(), 1e-3),
            critic_optimizer=own,
            save_every=2,
        )
        run.resume()
        for step in run.steps(until):
            for _ in step.micro_batches(4):
                for _ in range(2):
                    own.zero_grad()
                    softplus(critic(maker(torch.randn(4, 2)).detach())).mean().backward()
                    own.step()
                step.backward(softplus(-critic(maker(torch.randn(4, 2)))).mean())
                own.zero_grad()
            step.update()
        run.close()
        assert {2.0 * until} == {float(each["step"]) for each in own.state.values()}


def test_a_new_option_acts_and_the_state_in_the_groups_is_the_saved_one(tmp_path: Path) -> None:
    """Accepted, another weight decay acts; what the optimiser wrote into its groups goes on."""

    def make(decay: float) -> Make:
        return lambda model: GroupCounter(model.parameters(), weight_decay=decay, step=0)

    first = Training(tmp_path, make(0.1))
    first.run.resume()
    first.until(3)
    first.run.save()
    first.run.close()
    second = Training(tmp_path, make(0.2))
    second.run.resume(accept=["optimizer-options-unchanged"])
    second.run.close()
    (group,) = second.optimizer.param_groups
    assert (0.2, 3, 0.1 / 3) == (group["weight_decay"], group["step"], group["lr"])


def test_masters_that_the_optimizer_does_not_save_are_refused_by_name() -> None:
    """Copies that are trained in the place of the model's parameters would be lost."""

    def masters(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam([each.detach().clone() for each in model.parameters()])

    with pytest.raises(
        unbroken.NotEncodable, match=r"doesn't update model\.0\.weight of this shape"
    ):
        Training(Path("never"), masters)


def test_partial_gradients_of_an_embedding_are_sparse_after_a_resume_too(tmp_path: Path) -> None:
    """Stopped between two micro-batches, the entries of both are there, in order."""
    ends = []
    for name, stops in (("whole", False), ("run", True)):
        for is_first in (True, False) if stops else (False,):
            torch.manual_seed(0)
            table = nn.Embedding(8, 3, sparse=True)
            run = unbroken.Run(
                tmp_path / name,
                order=unbroken.StepBatches([f"s{i}" for i in range(8)], None, 8, 1),
                model=table,
                optimizer=torch.optim.SparseAdam(table.parameters()),
                save_every=0,
            )
            run.resume()
            step = run.begin_step()
            for start in range(run.position.samples, 8, 4):
                run.seed_micro_batch()
                ids = torch.tensor(step.indices[start : start + 4])
                step.backward((table(ids) * table(ids % 2)).sum())
                run.micro_batch_done(4)
                if is_first:
                    break
            if is_first:
                run.save()
            else:
                ends.append(table.weight.grad)
            run.close()
    whole, resumed = ends
    assert whole is not None
    assert resumed is not None
    assert same(whole._indices(), resumed._indices())
    assert same(whole._values(), resumed._values())
