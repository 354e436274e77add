"""The update at the end of a step: unscale, clip, optimisers, scaler, schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch


class Updater:
    """Goes backward, and applies the gradients of a step.

    Args:
        optimizers: In the order of their updates.
        schedulers: Each gets a `step()` with every update that was applied.
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
        """Learning rate of the first group; 0 without an optimiser."""
        return float(self.optimizers[0].param_groups[0]["lr"]) if self.optimizers else 0.0

    def backward(self, loss: torch.Tensor) -> None:
        """Add a micro-batch's gradients to those of the step, scaled where there is a scaler."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        scaled.backward()

    def unscale(self) -> None:
        """Divide the gradients by the scaler's scale."""
        for optimizer in self.optimizers:
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)

    def apply(self) -> bool:
        """Update and move the schedules on; return whether the scaler let the update through."""
        if self.scaler is None:
            for optimizer in self.optimizers:
                optimizer.step()
            applied = True
        else:
            before = self.scaler.get_scale()
            for optimizer in self.optimizers:
                self.scaler.step(optimizer)
            self.scaler.update()
            applied = self.scaler.get_scale() >= before
        if applied:
            for scheduler in self.schedulers:
                scheduler.step()
        return applied

    def leave_out(self) -> None:
        """Make no update; the scaler learns that gradients were not finite."""
        if self.scaler is not None and self.scaler_skips:
            self.scaler.update()

    def drop_gradients(self) -> None:
        """Set the gradients to None: the step is over."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)


def clip_gradients(parameters: Iterable[torch.Tensor], clip_norm: float) -> torch.Tensor:
    """Scale gradients down to a norm of at most `clip_norm` (0: leave them); return the norm before."""
    with_gradient = [each for each in parameters if each.grad is not None]
    limit = clip_norm if clip_norm > 0 else math.inf
    return torch.nn.utils.clip_grad_norm_(with_gradient, limit)


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
