"""Trainings that change themselves: what they turned into is resumed to the last bit, without an alarm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler

import unbroken
from support.programs import STEPS, Plain, Training
from support.sameness import same
from unbroken.audit.self_audit import UNSAVED
from unbroken.journal.journal import read_lines
from unbroken.replay.replay import ReplayOutcome


class AddsAGroup(Plain):
    """The last layer joins the optimiser at step 5; its gradients are clipped with the others."""

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters[:2], lr=0.02)

    def begin(self, step: int) -> None:
        if step >= 5 and len(self.optimizer.param_groups) == 1:
            for each in self.model[3].parameters():
                each.grad = None
            self.optimizer.add_param_group({"params": list(self.model[3].parameters()), "lr": 0.01})


class Unfreezes(Plain):
    """A layer is frozen until step 5."""

    def __init__(self) -> None:
        super().__init__()
        self.model[3].requires_grad_(requires_grad=False)

    def begin(self, step: int) -> None:
        if step == 5:
            self.model[3].requires_grad_(requires_grad=True)


class Prunes(Plain):
    """A layer is pruned at step 5, and made permanent at step 9."""

    def begin(self, step: int) -> None:
        if step == 5:
            prune.l1_unstructured(self.model[0], "weight", 0.3)
        if step == 9:
            prune.remove(self.model[0], "weight")


class Noisy(LRScheduler):
    """Draws each rate."""

    def get_lr(self) -> list[float | torch.Tensor]:
        return [g["lr"] * (0.97 + 0.02 * torch.rand(1).item()) for g in self.optimizer.param_groups]


class DrawsItsRates(Plain):
    """The schedule is stepped by the loop, which declares it as a part."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule: Any = Noisy(self.optimizer)

    def parts(self) -> dict[str, Any]:
        return {"by_loop": self.schedule}

    def begin(self, step: int) -> None:
        if step > 1:
            self.schedule.step()


class Restarts(DrawsItsRates):
    """A rate that leaps up every few steps, by a fraction of an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = CosineAnnealingWarmRestarts(self.optimizer, 2)

    def begin(self, step: int) -> None:
        self.schedule.step(step / 4)


class KeepsAList(torch.optim.SGD):
    """Notes its parameters, and has a number in its own state dict."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, lr=0.02, momentum=0.9)
        self.all_parameters, self.calls = parameters, 0

    def step(self, closure: Any = None) -> Any:
        self.calls += 1
        return super().step(closure)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "calls": self.calls}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        self.calls = state.pop("calls")
        super().load_state_dict(state)


class OwnState(Plain):
    """An optimiser with a way of its own that holds its parameters in an attribute."""

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return KeepsAList(parameters)


class BareMoments(torch.optim.Optimizer):
    """Keeps a tensor for each parameter, no dict."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.02})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # of the loop's own
        """Make an update."""
        del closure
        for group in self.param_groups:
            for each in group["params"]:
                state: Any = self.state
                if each not in state:
                    state[each] = torch.zeros_like(each)
                state[each].lerp_(each.grad, 0.1)
                each.sub_(state[each], alpha=group["lr"])


class Bare(Plain):
    """An optimiser whose state of a parameter is a tensor."""

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return BareMoments(parameters)


class OneCounter(torch.optim.Optimizer):
    """One counter stands in the state of every parameter, and one list in both groups."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        groups = [{"params": parameters[:2]}, {"params": parameters[2:]}]
        super().__init__(groups, {"lr": 0.02, "norms": []})
        self.counter = torch.zeros(())

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # of the loop's own
        """Make an update."""
        del closure
        for group in self.param_groups:
            for each in group["params"]:
                state = self.state[each]
                if not state:
                    state["count"], state["moment"] = self.counter, torch.zeros_like(each)
                state["count"] += 1
                group["norms"].append(float(each.grad.norm()))
                state["moment"].lerp_(each.grad, 0.1)
                pace = 1 + 0.01 * float(state["count"]) + 0.001 * sum(group["norms"])
                each.sub_(state["moment"], alpha=group["lr"] / pace)


class Shares(Plain):
    """What is one object in the live optimiser is one after a resume."""

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return OneCounter(parameters)


class Flat(OneCounter):
    """Its moments are views of one buffer."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters)
        whole, at = torch.zeros(sum(each.numel() for each in parameters)), 0
        for each in parameters:
            moment = whole[at : at + each.numel()].view_as(each)
            self.state[each] = {"count": torch.zeros(()), "moment": moment}
            at += each.numel()


class Views(Plain):
    """An optimiser whose state could only be restored apart."""

    def build(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return Flat(parameters)


class Sparse(Plain):
    """An embedding with sparse gradients, beside dense ones that are clipped with them."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.EmbeddingBag(40, 6, sparse=True), nn.Linear(6, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)


PROGRAMS = [
    AddsAGroup, Unfreezes, Prunes, DrawsItsRates, Restarts, OwnState, Bare, Shares, Sparse,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("how", ["killed after a save", "killed later", "stopped inside a step"])
def test_it_goes_on_to_the_last_bit(tmp_path: Path, program: Callable[[], Any], how: str) -> None:
    """Left right after the save of step 6, two steps after it, or stopped inside step 7."""
    whole = Training(program, tmp_path / "whole")
    whole.train(STEPS)
    first = Training(program, tmp_path / "run")
    if how == "stopped inside a step":
        with pytest.raises(unbroken.Stopped):
            first.train(STEPS, stop=7)
    else:
        first.train(6)
        if how == "killed later":
            first.train(STEPS, left_at=9)
    first.run.close()
    second = Training(program, tmp_path / "run")
    second.train(STEPS)
    verdict = second.run.monitor.verdict
    proved = how != "killed after a save"
    assert verdict is not None
    assert proved == (verdict.outcome is ReplayOutcome.EXACT), verdict
    assert [] == [each.sentence for each in second.run.monitor.remarks if each.is_alarm]
    expected, found = whole.state(), second.state()
    assert [] == [name for name in expected if not same(expected[name], found[name])]
    whole.run.close()
    second.run.close()
    history = read_lines(second.run.layout.history)
    assert [] == [each for each in history if each["event"] == UNSAVED]


def test_views_of_one_buffer_are_refused_by_name_after_the_first_update(tmp_path: Path) -> None:
    """Restored apart, they would be no views any more: nothing is trained for nothing."""
    training = Training(Views, tmp_path / "run")
    with pytest.raises(unbroken.NotEncodable, match="views of one buffer"):
        training.train(STEPS)
    assert 1 == training.run.position.step
    training.run.close()
