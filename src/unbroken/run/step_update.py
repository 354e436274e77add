"""The update of one step: looked at before it is made, made, looked at afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from unbroken.errors import RunMisused, TrainingWentBad
from unbroken.run.closure import MeasuredClosure
from unbroken.run.monitor import ResumeMonitor
from unbroken.run.update import Updater, clip_gradients, to_host
from unbroken.state.training_state import TrainingState


class _LeftOut(Exception):  # no error: it takes a closure's optimiser out of its step
    """Ends an optimiser's step before it has updated anything."""


class StepUpdate:
    """Makes the update of a step, unless something is not finite.

    Args:
        state: What is updated, and what the step has gathered.
        updater: Applies the gradients.
        monitor: Looks at the step where a resume is watched.
        step: The step's number.
        ids: Names of its samples.
        clip_norm: Largest norm of all gradients together; 0 for no clipping.
        skips_nonfinite: Whether to leave the update out where something isn't finite.
        optimizers: Names of those to update with; None for all that the run updates.

    Raises:
        RunMisused: One of them is not declared, or has stepped in this step already.
    """

    def __init__(
        self,
        state: TrainingState,
        updater: Updater,
        monitor: ResumeMonitor,
        *,
        step: int,
        ids: Sequence[str],
        clip_norm: float,
        skips_nonfinite: bool,
        optimizers: Collection[str] | None,
    ) -> None:
        self._state, self._updater, self._monitor = state, updater, monitor
        self._step, self._ids = step, ids
        self._clip_norm, self._skips_nonfinite = clip_norm, skips_nonfinite
        self._optimizers = updater.optimizers if optimizers is None else state.named(optimizers)
        self._parameters = state.trained if optimizers is None else state.updated_by(optimizers)
        self._applied: dict[str, Any] = {}
        names = state.optimizer_steps.names_of(self._optimizers)
        twice = [name for name in names if name in state.optimizer_steps.names]
        if twice:
            raise RunMisused(
                f"The optimiser {twice[0]!r} has stepped in step {step} already, and update() would "
                "step it again.",
                "The same gradients would be applied twice.",
                "Leave optimizer.step() to step.update(); name the others in "
                "step.update(optimizers=[...]); or end the step with step.end().",
            )

    def of_gradients(self) -> dict[str, Any]:
        """Apply the gradients that the micro-batches left; return the fields of the result."""
        updater, state = self._updater, self._state
        updater.unscale(self._optimizers)
        self._monitor.before_update(self._step, state.stepped_paths())
        norm = clip_gradients(self._parameters.values(), self._clip_norm)
        is_left_out = self._look(norm)
        if is_left_out:
            updater.leave_out()
        was_applied = not is_left_out and updater.apply(self._optimizers)
        return self._made(was_applied=was_applied)

    def by_closure(
        self, closure: Callable[[], torch.Tensor], take_samples: Callable[[], None]
    ) -> dict[str, Any]:
        """Have the optimisers evaluate the loss themselves; return the fields of the result.

        Args:
            closure: Goes forward and backward and returns the loss.
            take_samples: Counts the samples that it uses.

        Raises:
            RunMisused: There is a gradient scaler.
        """
        if self._updater.scaler_skips:
            raise RunMisused(
                "update() was given a closure, and the run has a gradient scaler.",
                "PyTorch's scaler can't scale what an optimiser evaluates by itself.",
                "Train in bfloat16 or float32, which need no scaler.",
            )

        def look(norm: torch.Tensor) -> None:
            self._monitor.before_update(self._step, self._state.stepped_paths())
            if self._look(norm):
                raise _LeftOut

        measured = MeasuredClosure(
            closure, self._parameters, self._clip_norm, self._state.sums, look
        )
        take_samples()
        try:
            self._updater.apply(self._optimizers, measured.evaluate)
        except _LeftOut:
            return self._made(was_applied=False)
        return self._made(was_applied=True)

    def _look(self, norm: torch.Tensor) -> bool:
        """Take in what is about to be applied; say whether it is to be left out.

        Raises:
            TrainingWentBad: Something isn't finite, and that ends the run.
        """
        state, updater = self._state, self._updater
        losses, grad_norm, entries = to_host(state.sums.values, norm, state.fingerprint.entries)
        bad = [name for name, each in losses.items() if not math.isfinite(each)]
        if not math.isfinite(grad_norm) and not updater.scaler_skips:
            bad.append("grad_norm")
        if bad and not self._skips_nonfinite:
            raise self._went_bad(bad, losses, grad_norm)
        self._applied = {
            "losses": losses,
            "grad_norm": grad_norm,
            "rate": updater.rate,
            "rates": state.rates(),
            "loss_scale": updater.loss_scale,
            "fingerprint": state.fingerprint.summary(entries),
        }
        return bool(bad)

    def _made(self, *, was_applied: bool) -> dict[str, Any]:
        if was_applied:
            self._monitor.after_update(self._step)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        return {**self._applied, "skipped": not was_applied}

    def _went_bad(
        self, bad: list[str], losses: Mapping[str, float], grad_norm: float
    ) -> TrainingWentBad:
        values = ", ".join(f"{name}={losses.get(name, grad_norm)}" for name in bad)
        return TrainingWentBad(
            f"Step {self._step} is not finite: {values}. Its samples: {', '.join(self._ids)}.",
            "An update with it would ruin the weights; it was not made, and the last checkpoint "
            "is untouched.",
            "Look at these samples, lower the learning rate, or leave such steps out: "
            'step.update(on_nonfinite="skip").',
            topic="not finite",
        )
