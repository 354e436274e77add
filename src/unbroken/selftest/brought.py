"""A training whose state is of no stock kind, as people bring it, and the faults of that state.

Its optimiser counts in its groups, keeps a number in an attribute and a moment of the whole model. A
second model, with a buffer that grows, has an optimiser of its own that the loop steps. A generator and
a history of losses in numpy are parts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrainingPlan, TrialTraining, cross_entropy

AREA = Area("brought")
SETTING = "brought"
OF_OPTIMIZER = ("optimizer-state-identical", "optimizer-options-unchanged", "replay: update")
OF_MODEL = ("weights-identical", "other-state-identical", "replay: loss")
OF_PARTS = ("other-state-identical", "replay: loss")
KEPT = 6
"""Losses in the history."""


class Paced(torch.optim.SGD):
    """Steps that shrink with the calls it counts and with the gradients it has seen."""

    trust = 1.0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # of the loop's own
        """Make an update."""
        del closure
        gradients = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        norm = torch.stack([each.norm() for each in gradients]).norm()
        whole = self.state.setdefault("whole", {"norm": norm.clone()})  # type: ignore[call-overload]  # a key of its own
        whole["norm"].lerp_(norm, 0.1)
        self.trust = 0.9 * self.trust + 0.1 / (1.0 + float(norm))
        for group in self.param_groups:
            group["calls"] = group.get("calls", 0) + 1
            pace = self.trust / (group["calls"] ** 0.5 * (1.0 + float(whole["norm"])))
            for each in group["params"]:
                if each.grad is not None:
                    each.add_(each.grad, alpha=-group["lr"] * pace)


class Growing(nn.Module):
    """Adds the mean of all that it has seen; its buffer grows by an entry each time it trains."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        """Return the stream, moved a little."""
        if self.training:
            self.seen = torch.cat([self.seen, stream.detach().mean().reshape(1)])
        return stream + self.seen.mean()


class History:
    """The last losses, in an array."""

    def __init__(self) -> None:
        self.losses = np.zeros(KEPT)

    def state_dict(self) -> dict[str, Any]:
        """Return them."""
        return {"losses": self.losses.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self.losses = state["losses"]


def _bring(plan: TrainingPlan) -> dict[str, Any]:
    critic = nn.Sequential(nn.Linear(plan.vocabulary, 1), Growing()).to(plan.device)
    return {
        "critic": critic,
        "critic_optimizer": torch.optim.Adam(critic.parameters(), lr=1e-2),
        "noise": np.random.default_rng(plan.seed),
        "history": History(),
    }


def _loss(training: TrialTraining, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return a loss that depends on every part, and step the critic."""
    brought, plain = training.brought, cross_entropy(logits, targets)
    history = brought["history"]
    weight: float = 1.0 + 0.1 * brought["noise"].random() + 0.05 * history.losses.mean()
    history.losses = np.append(history.losses[1:], float(plain))
    critic: Callable[[torch.Tensor], torch.Tensor] = brought["critic"]
    (critic(logits.detach()).mean() - 1.0).square().backward()
    brought["critic_optimizer"].step()
    brought["critic_optimizer"].zero_grad()
    return weight * plain + 0.1 * critic(logits).mean()


def _drop_gradients_of_the_critic(training: TrialTraining) -> None:
    """Drop what the model's loss gave the critic."""
    training.brought["critic_optimizer"].zero_grad()


def brought() -> TrainingPlan:
    """Return the plan of such a training."""
    return TrainingPlan(
        learning_rate=0.2,
        bring=_bring,
        build_optimizer=lambda plan, model: Paced(
            [each for each in model.parameters() if each.requires_grad], lr=plan.learning_rate
        ),
        loss=_loss,
        before_update=[_drop_gradients_of_the_critic],
    )


def _change(change: Callable[[TrialTraining], Any], scene: Scene) -> None:
    def changed(training: TrialTraining) -> None:
        with torch.no_grad():
            change(training)

    scene.plan.after_resume.append(changed)


def _restart_counter(training: TrialTraining) -> None:
    for group in training.optimizer.param_groups:
        group["calls"] = 0


def _seed_noise_again(training: TrialTraining) -> None:
    fresh = np.random.default_rng(training.plan.seed)
    training.brought["noise"].bit_generator.state = fresh.bit_generator.state


def _leave_gradients(training: TrialTraining) -> None:
    for each in training.brought["critic"].parameters():
        each.grad = torch.ones_like(each)


CHANGES: dict[str, tuple[str, Callable[[TrialTraining], Any], tuple[str, ...]]] = {
    "counter-of-a-group-restarts": ("the calls that an optimiser counts in its groups start over",
        _restart_counter, OF_OPTIMIZER),
    "attribute-of-an-optimizer-lost": ("a number that an optimiser keeps in an attribute starts over",
        lambda it: setattr(it.optimizer, "trust", 1.0), OF_OPTIMIZER),
    "moment-of-the-whole-model-lost": ("a moment that an optimiser keeps under a name is dropped",
        lambda it: it.optimizer.state.pop("whole"), OF_OPTIMIZER),
    "grown-buffer-cut": ("a buffer that had grown is cut to what it was at the start",
        lambda it: setattr(it.brought["critic"][1], "seen", it.brought["critic"][1].seen[:1]),
        OF_MODEL),
    "second-model-built-anew": ("the second model of a loop is built anew",
        lambda it: it.brought["critic"][0].reset_parameters(), OF_MODEL),
    "second-optimizer-loses-moments": ("the moments of an optimiser that the loop steps are lost",
        lambda it: it.brought["critic_optimizer"].state.clear(),
        (*OF_OPTIMIZER, "replay: loss")),
    "gradients-of-the-second-model-left": ("gradients of the second model are left from before",
        _leave_gradients, ("accumulation-restored", "replay: loss")),
    "own-generator-seeded-again": ("the loop's own generator is seeded again", _seed_noise_again,
        OF_PARTS),
    "history-in-numpy-lost": ("an array that a part keeps is empty after the resume",
        lambda it: setattr(it.brought["history"], "losses", np.zeros(KEPT)), OF_PARTS),
}  # fmt: skip

for name, (sentence, change, cause) in CHANGES.items():
    AREA.fault(name, sentence, *cause, setting=SETTING)(partial(_change, change))


@AREA.fault("part-that-loads-nothing", "a part has a load_state_dict() that takes nothing in",
    "other-state-identical", setting=SETTING)  # fmt: skip
def _loads_nothing(scene: Scene) -> None:
    scene.replace(History, "load_state_dict", lambda _self, _state: None)


@AREA.fault("undeclared-second-model", "the second model and its optimiser are declared no more",
    "parts-complete", setting=SETTING)  # fmt: skip
def _undeclared(scene: Scene) -> None:
    def build(plan: TrainingPlan) -> dict[str, Any]:
        brought = _bring(plan)
        kept["critic"], kept["critic_optimizer"] = (
            brought.pop("critic"),
            brought.pop("critic_optimizer"),
        )
        return brought

    kept: dict[str, Any] = {}
    scene.plan.bring = build
    scene.plan.after_resume.append(lambda training: training.brought.update(kept))
