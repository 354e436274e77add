"""Whether a run repeats itself: measured once, at the first step in an environment.

The first call of each trained model within that step is made twice more by copies of it, forward and
backward, before the loop's own call goes on as if nothing had been. Where a loop calls the modules right
inside a model instead, as that of a framework does, these are measured. What the loop computes outside of
its models, such as the loss, is not in it: there a replay repeats steps from the checkpoint instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from unbroken.checkpoint.layout import Layout
from unbroken.journal.change import changes
from unbroken.journal.journal import read_lines
from unbroken.replay.noise import Noise
from unbroken.run.two_passes import NotMeasurable, has_compiled_wrapper, noise_of
from unbroken.state.modules import ModulePart
from unbroken.state.training_state import TrainingState
from unbroken.watch.watch import number_of

EVENT = "repeatability"
"""Of the line in the history that tells what was measured."""


class Repeatability:
    """Knows the noise of a run, or measures it within the first step.

    Args:
        models: The models to measure, by part name; none where the noise is known.
        known: What an earlier start measured in the same environment.
        of_loop: Whether the loop may be repeated in one process, as far as earlier starts tell.
        tell: Called once with what was measured here, and why nothing could be.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        known: Noise | None,
        tell: Callable[[Noise | None, str], None],
        *,
        of_loop: bool = True,
    ) -> None:
        self.of_loop = of_loop
        """Whether the loop's steps may be repeated in one process."""
        self.noise = known
        """None while nothing was measured, or where it can't be."""
        self._tell = tell
        self._models = list(models.values())
        self._left: dict[str, nn.Module] = {} if known else dict(models)
        self._inside: dict[str, set[int]] = {}
        self._is_open = known is None
        self._handles: list[RemovableHandle] = []
        self._why = ""
        self._listen()

    @property
    def of_all(self) -> Noise | None:
        """What a repeated step is judged by; None where more than the models may be noisy.

        On a processor torch repeats itself; on a card it promises that with deterministic algorithms.
        """
        models_repeat = self.noise is not None and not self.noise.is_any
        is_sure = not self._is_on_card or torch.are_deterministic_algorithms_enabled()
        return None if models_repeat and not (self.of_loop and is_sure) else self.noise

    @property
    def _is_on_card(self) -> bool:
        return any(one.is_cuda for each in self._models for one in each.parameters())

    def step_done(self) -> None:
        """Conclude from what the first step has shown; later steps are looked at no more."""
        if not self._is_open:
            return
        self._is_open = False
        self._hear_no_more()
        uncalled = [name for name in self._left if name not in self._inside]
        if uncalled and not self._why:
            self._why = f"the loop makes no call of {uncalled[0]} that trains it"
        if self._why:
            self.noise = None
        self._tell(self.noise, self._why)

    def close(self) -> None:
        """Leave the models as they were."""
        self._hear_no_more()

    def _listen(self) -> None:
        for name, model in self._left.items():
            if isinstance(model, torch.jit.ScriptModule) or has_compiled_wrapper(model):
                self._why = f"{name}: it is compiled, and a copy of it would not be"
                continue
            for each in (model, *_trained_inside(model)):
                if id(each) not in self._inside.get(name, ()):
                    handle = each.register_forward_pre_hook(
                        self._hook(name, each), with_kwargs=True, prepend=True
                    )
                    self._handles.append(handle)

    def _hear_no_more(self) -> None:
        for each in self._handles:
            each.remove()
        self._handles = []

    def _hook(self, name: str, target: nn.Module) -> Callable[[nn.Module, Any, Any], None]:
        def measure(model: nn.Module, args: Any, kwargs: Any) -> None:
            if torch.compiler.is_compiling():
                return
            # A copy of the model may have this hook too; it is not what is to be measured.
            if model is target and name in self._left and torch.is_grad_enabled():
                self._measure(name, model, args, kwargs)

        return measure

    def _measure(self, name: str, model: nn.Module, args: Any, kwargs: Any) -> None:
        self._hear_no_more()  # the copies would have the hooks too
        if model is self._left[name]:
            del self._left[name]
        else:  # the loop calls what is inside of it
            self._inside.setdefault(name, set()).add(id(model))
        try:
            found, so_far = noise_of(model, args, kwargs), self.noise or Noise()
            worst = max(found, so_far, key=lambda each: max(each.outputs, each.gradient))
            self.noise = Noise(
                outputs=max(found.outputs, so_far.outputs),
                gradient=max(found.gradient, so_far.gradient),
                deterministic_repeats=worst.deterministic_repeats,
            )
        except NotMeasurable as error:
            self._why = f"{name}: {error}"
        self._listen()


def _trained_inside(model: nn.Module) -> list[nn.Module]:
    """Return the modules right inside a model, or inside its lists, of which something is trained."""
    found: list[nn.Module] = []
    for each in model.children():
        if isinstance(each, nn.ModuleList | nn.ModuleDict):
            found += _trained_inside(each)
        elif any(one.requires_grad for one in each.parameters()):
            found.append(each)
    return found


def trained_models(state: TrainingState) -> dict[str, nn.Module]:
    """Return the declared models of which something is trained, by part name."""
    trained = {id(each) for each in state.trained.values()}
    return {
        name: part.module
        for name, part in state.parts.items()
        if isinstance(part, ModulePart)
        and any(id(each) in trained for each in part.module.parameters())
    }


def known_noise(layout: Layout, facts: Mapping[str, Any], computed_in: str) -> Noise | None:
    """Return what the run's history tells of its noise in this environment; None where nothing does.

    Args:
        layout: The run's directory.
        facts: What this start computes with; see `unbroken.journal.change.arithmetic_facts`.
        computed_in: Precision and device.
    """
    found = None
    for line in read_lines(layout.history):
        if line.get("event") == EVENT and "gradient" in line and _is_of(line, facts, computed_in):
            found = Noise(
                outputs=number_of(line.get("outputs")),
                gradient=number_of(line.get("gradient")),
                deterministic_repeats=line.get("deterministic_repeats") is True,
            )
    return found if found and math.isfinite(found.outputs + found.gradient) else None


def is_loop_repeatable(layout: Layout) -> bool:
    """Say whether no earlier start has seen that the loop can't be repeated in one process."""
    return all(line.get("of_loop") is not False for line in read_lines(layout.history))


def _is_of(line: Mapping[str, Any], facts: Mapping[str, Any], computed_in: str) -> bool:
    was = line.get("computed_with", {})
    return bool(was) and line.get("computed_in") == computed_in and not changes(was, facts)
