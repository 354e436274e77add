"""One step of a run: its step batch, cut into micro-batches, and the update at its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from unbroken.errors import StateMismatch, TrainingWentBad
from unbroken.order.step_batches import MicroBatch, sample_digest
from unbroken.state.position import Position

if TYPE_CHECKING:
    from unbroken.run.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a completed step came to."""

    step: int
    """Steps completed, this one included."""
    losses: Mapping[str, float]
    """`loss` and the named sums given to `backward`, over the whole step batch."""
    grad_norm: float = math.nan
    """Norm of all gradients before clipping."""
    rate: float = math.nan
    """Learning rate of the first group, as it was applied."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rates of all groups, by name, as they were applied; only while a resume is watched."""
    skipped: bool = False
    """Whether the update was left out, by the loss scaler or because something was not finite."""
    fingerprint: Mapping[str, float] = field(default_factory=dict)
    """What tells whether weights, buffers, averages and modes were what they were; see `state/fingerprint`."""

    def line(self, position: Position, epoch: int, ids: Sequence[str]) -> dict[str, Any]:
        """Return the step's line in the journal.

        Args:
            position: Where the run stands after it.
            epoch: The epoch it belongs to.
            ids: Names of its samples, in order.
        """
        line: dict[str, Any] = {
            "step": position.step,
            "updates": position.updates,
            "epoch": epoch,
            "samples": len(ids),
            "sample_digest": sample_digest(ids),
            **self.losses,
            "lr": self.rate,
            "grad_norm": self.grad_norm,
            **self.fingerprint,
        }
        return line | ({"skipped": True} if self.skipped else {})


class Step:
    """The step that a run is in; made by `Run.steps`."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.indices = tuple(int(i) for i in run.order.at(run.position))
        """Sample numbers of the whole step batch."""
        self.number = run.position.step + 1
        """This step's number; the first of a run is 1."""

    @property
    def ids(self) -> list[str]:
        """Names of the samples of the step batch, in order."""
        return [self.run.order.ids[i] for i in self.indices]

    def require_samples(self, ids: Sequence[str]) -> None:
        """Compare the samples a loop of its own is about to use with the run's.

        Raises:
            StateMismatch: They are others, or in another order.
        """
        if list(ids) != self.ids:
            raise StateMismatch(
                f"Step {self.number} is to use {list(ids)[:3]}…, the run's order says "
                f"{self.ids[:3]}….",
                "Samples would be repeated or left out without a trace.",
                "Take the samples of each step from the run.",
            )

    def total(self, count: Callable[[int], Mapping[str, float]]) -> dict[str, float]:
        """Sum `count(sample number)` over the whole step batch, before its first forward pass."""
        sums: dict[str, float] = {}
        for index in self.indices:
            for name, each in count(index).items():
                sums[name] = sums.get(name, 0) + each
        return sums

    def micro_batches(self, size: int) -> Iterator[MicroBatch]:
        """Yield what is left of the step batch, at most `size` samples at a time.

        The global generators are set from the position before each. A stop request is honoured
        between two micro-batches: the run saves, partial gradients and all.
        """
        self.run.monitor.cut_into(min(size, len(self.indices)))
        while self.run.position.samples < len(self.indices):
            start = self.run.position.samples
            self.run.seed_micro_batch()
            indices = self.indices[start : start + size]
            yield MicroBatch(self.run.position, indices)
            self.run.micro_batch_done(len(indices))

    def begin_again(self) -> None:
        """Go back to the step's start: what its micro-batches left so far is dropped.

        For a step that can't be finished as it was cut. Nothing was updated yet, and all randomness
        follows from the position, so it is as if the step had just begun.
        """
        state = self.run.state
        for parameter in state.trained.values():
            parameter.grad = None
        state.sums.clear()
        state.fingerprint.clear()
        state.position = replace(state.position, samples=0)
        state.has_uncounted = False

    def backward(self, loss: torch.Tensor, **named: torch.Tensor | float) -> None:
        """Go backward and add to the step's sums.

        Args:
            loss: 0-dim; this micro-batch's share of the step's loss (shares are summed).
            named: Further shares to be summed, written to the journal by name.
        """
        scaler = self.run.scaler
        self.run.state.has_uncounted = True
        (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]  # torch's own
        self.run.state.sums.add("loss", loss)
        for name, each in named.items():
            self.run.state.sums.add(name, each)

    def update(
        self, clip_norm: float = 0.0, on_nonfinite: Literal["stop", "skip"] = "stop"
    ) -> StepResult:
        """Complete the step: unscale, clip, test for finiteness, update, schedule, journal.

        Args:
            clip_norm: Largest norm of all gradients together; 0 for no clipping.
            on_nonfinite: What to do about a loss or gradient that isn't finite.

        Raises:
            TrainingWentBad: Something isn't finite; nothing was updated.
            Diverged: After a resume, what is frozen was moved or a repeated step came out otherwise.
            RuntimeError: Samples of the step are missing.
        """
        run = self.run
        if run.position.samples != len(self.indices):
            raise RuntimeError(
                f"update() after {run.position.samples} of {len(self.indices)} samples of the step"
            )
        for optimizer in run.optimizers:
            if run.scaler is not None:
                run.scaler.unscale_(optimizer)
        run.monitor.before_update(self.number)
        norm = clip_gradients(run.state.trained.values(), clip_norm)
        losses, grad_norm, entries = _to_host(
            run.state.sums.values, norm, run.state.fingerprint.entries
        )
        fingerprint = run.state.fingerprint.summary(entries)
        rate = float(run.optimizers[0].param_groups[0]["lr"]) if run.optimizers else 0.0
        rates = run.inspector.rates() if run.monitor.is_watching else {}
        bad = [name for name, each in losses.items() if not math.isfinite(each)]
        scaler_skips = run.scaler is not None and run.scaler.is_enabled()
        if not math.isfinite(grad_norm) and not scaler_skips:
            bad.append("grad_norm")
        if bad and on_nonfinite == "stop":
            raise self._went_bad(bad, losses, grad_norm)
        skipped = bool(bad) or not self._apply()
        if not skipped:
            run.monitor.after_update(self.number)
        if bad and scaler_skips:
            run.scaler.update()  # type: ignore[union-attr]  # it is there: scaler_skips
        for optimizer in run.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return run.end_step(
            losses,
            grad_norm=grad_norm,
            rate=rate,
            rates=rates,
            skipped=skipped,
            fingerprint=fingerprint,
        )

    def _apply(self) -> bool:
        run = self.run
        if run.scaler is None:
            for optimizer in run.optimizers:
                optimizer.step()
            applied = True
        else:
            before = run.scaler.get_scale()
            for optimizer in run.optimizers:
                run.scaler.step(optimizer)
            run.scaler.update()
            applied = run.scaler.get_scale() >= before
        if applied:
            for scheduler in run.schedulers:
                scheduler.step()
        return applied

    def _went_bad(
        self, bad: list[str], losses: Mapping[str, float], grad_norm: float
    ) -> TrainingWentBad:
        values = ", ".join(f"{name}={losses.get(name, grad_norm)}" for name in bad)
        return TrainingWentBad(
            f"Step {self.number} is not finite: {values}. Its samples: {', '.join(self.ids)}.",
            "An update with it would ruin the weights; it was not made, and the last checkpoint "
            "is untouched.",
            "Look at these samples, lower the learning rate, or go on with --on-nonfinite skip.",
        )


def clip_gradients(parameters: Iterable[torch.Tensor], clip_norm: float) -> torch.Tensor:
    """Scale gradients down to a norm of at most `clip_norm` (0: leave them); return the norm before."""
    with_gradient = [each for each in parameters if each.grad is not None]
    limit = clip_norm if clip_norm > 0 else math.inf
    return torch.nn.utils.clip_grad_norm_(with_gradient, limit)


def _to_host(
    sums: Mapping[str, torch.Tensor], norm: torch.Tensor, entries: torch.Tensor | None
) -> tuple[dict[str, float], float, list[float]]:
    """Bring all numbers of a step to the host in one transfer, as float64."""
    values: list[Any] = [*sums.values(), norm]
    packed = torch.stack([each.detach().double().to(norm.device) for each in values])
    if entries is not None:
        packed = torch.cat([packed, entries.double().to(norm.device)])
    told = packed.tolist()
    count = len(sums)
    return dict(zip(sums, told[:count], strict=True)), told[count], told[count + 1 :]
