"""The update at the end of a step: unscale, clip, optimisers, scaler, schedules."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from unbroken.state.training_state import TrainingState


class Updater:
    """Goes backward, and applies the gradients of a step.

    Args:
        optimizers: In the order of their updates.
        schedulers: Each is moved on with every update that was applied.
        scaler: A gradient scaler; None for none.
    """

    def __init__(
        self,
        optimizers: Iterable[torch.optim.Optimizer],
        schedulers: Iterable[Any],
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        self.optimizers = list(optimizers)
        self.schedulers = list(schedulers)
        self.scaler = scaler
        self._scale: float | None = None

    @property
    def scaler_skips(self) -> bool:
        """Whether the scaler leaves out an update whose gradients are not finite."""
        return self.scaler is not None and self.scaler.is_enabled()

    @property
    def loss_scale(self) -> float | None:
        """What the scaler scales the loss with; None without one."""
        return self.scaler.get_scale() if self.scaler is not None and self.scaler_skips else None

    @property
    def rate(self) -> float:
        """Learning rate of the first group; 0 without an optimiser, or where it sets its own."""
        rate = self.optimizers[0].param_groups[0].get("lr") if self.optimizers else None
        return 0.0 if rate is None else float(rate)

    def begin_step(self) -> None:
        """Know the scale that the steps to come are compared with."""
        if self._scale is None and self.scaler is not None and self.scaler_skips:
            self._scale = self.scaler.get_scale()

    def scale_fell(self) -> bool:
        """Say whether the scaler found gradients that are not finite since this was asked last."""
        if self.scaler is None or not self.scaler_skips:
            return False
        before, self._scale = self._scale, self.scaler.get_scale()
        return before is not None and self._scale < before

    def backward(self, loss: torch.Tensor) -> None:
        """Add a micro-batch's gradients to those of the step, scaled where there is a scaler."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward()

    def backward_keeping_graph(self, loss: torch.Tensor, *, create_graph: bool) -> None:
        """Do the same, and keep the graph; give the gradients one of their own where it is asked for."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        with warnings.catch_warnings():  # the gradients are dropped after the update
            warnings.filterwarnings("ignore", message="Using backward.. with create_graph")
            scaled.backward(retain_graph=True, create_graph=create_graph)

    def unscale(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Divide the gradients of some optimisers by the scaler's scale."""
        for optimizer in optimizers:
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)

    def apply(
        self,
        optimizers: Iterable[torch.optim.Optimizer],
        closure: Callable[[], Any] | None = None,
    ) -> bool:
        """Update with some optimisers; return whether the scaler let the update through.

        Args:
            optimizers: In the order of their updates.
            closure: What an optimiser calls that evaluates the loss by itself; no scaler then.
        """
        if self.scaler is None or closure is not None:
            for optimizer in optimizers:
                _ = optimizer.step() if closure is None else optimizer.step(closure)
            return True
        before = self.scaler.get_scale()
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        self._scale = self.scaler.get_scale()
        return self._scale >= before

    def move_schedules(self, updates: int, score: float | None) -> None:
        """Move the schedules on after an update.

        Args:
            updates: Updates applied by now, this one included.
            score: What a schedule by scores takes; None where there is none yet.
        """
        for scheduler in self.schedulers:
            if isinstance(scheduler, ReduceLROnPlateau):
                if score is not None:
                    scheduler.step(score)
            elif hasattr(scheduler, "step_update"):  # of timm, which counts epochs with step()
                scheduler.step_update(updates)
            else:
                scheduler.step()

    def leave_out(self) -> None:
        """Make no update; the scaler learns that gradients were not finite."""
        if self.scaler is not None and self.scaler_skips:
            self.scaler.update()
            self._scale = self.scaler.get_scale()


def learned_of_step(state: TrainingState, updater: Updater) -> dict[str, Any]:
    """Return what is known of a step whose updates its loop has made: fields of its result.

    An update was made where an optimiser of the run has stepped, unless a scaler kept it from acting:
    a fused one is called all the same, and the scale falls.
    """
    names = state.optimizer_steps.names_of(updater.optimizers)
    has_stepped = any(name in state.optimizer_steps.names for name in names)
    rate = state.optimizer_steps.first_rate(names)
    return {
        "skipped": (fell := updater.scale_fell()),
        "gathers": not (fell or has_stepped),
        "rate": updater.rate if rate is None else rate,
        "rates": state.optimizer_steps.rates(),
    }


def clip_gradients(parameters: Iterable[torch.Tensor], clip_norm: float) -> torch.Tensor:
    """Scale gradients down to a norm of at most `clip_norm` (0: leave them); return the norm before."""
    with_gradient = [each for each in parameters if each.grad is not None]
    limit = clip_norm if clip_norm > 0 else math.inf
    sparse = [each for each in with_gradient if _is_sparse(each)]
    if not sparse:
        return torch.nn.utils.clip_grad_norm_(with_gradient, limit)
    for each in sparse:  # PyTorch takes no norm of them: that of their entries is the same
        each.grad = None if each.grad is None else each.grad.coalesce()
    held = [_entries(each.grad) for each in with_gradient if each.grad is not None]
    norm = torch.nn.utils.get_total_norm(held)
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_ does
    for each in held:
        each.mul_(scale.to(each.device))
    return norm


def _is_sparse(parameter: torch.Tensor) -> bool:
    return parameter.grad is not None and parameter.grad.layout is torch.sparse_coo


def _entries(gradient: torch.Tensor) -> torch.Tensor:
    """Return a gradient's entries, to be changed in place."""
    return gradient.values() if gradient.layout is torch.sparse_coo else gradient


def to_host(
    sums: Mapping[str, torch.Tensor], norm: torch.Tensor, entries: torch.Tensor | None
) -> tuple[dict[str, float], float, list[float]]:
    """Bring all numbers of a step to the host in one transfer, as float64."""
    values: list[Any] = [*sums.values(), norm]
    packed = torch.stack([each.detach().double().to(norm.device) for each in values])
    if entries is not None:
        packed = torch.cat([packed, entries.double().to(norm.device)])
    numbers = packed.tolist()
    count = len(sums)
    return dict(zip(sums, numbers[:count], strict=True)), numbers[count], numbers[count + 1 :]
