"""One step of a run: its step batch, cut into micro-batches, and the update at its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch

from unbroken.audit.self_audit import SelfAudit
from unbroken.errors import StateMismatch, TrainingWentBad
from unbroken.order.step_batches import MicroBatch, StepBatches, sample_digest
from unbroken.run.monitor import ResumeMonitor
from unbroken.run.step_cut import StepCut
from unbroken.run.update import Updater, clip_gradients, to_host
from unbroken.state.position import Position
from unbroken.state.training_state import TrainingState


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


class LoopCalls(Protocol):
    """The calls that a loop of one's own makes on its run; a step makes them for its loop."""

    def seed_micro_batch(self) -> None:
        """Set the global generators from the position."""

    def micro_batch_done(self, samples: int) -> None:
        """Count a micro-batch whose gradients and sums are in."""

    def end_step(self, losses: Mapping[str, float], **applied: Any) -> StepResult:
        """Count a completed step and write its line into the journal."""


class Step:
    """The step that a run is in; made by `Run.steps` and `Run.begin_step`.

    Args:
        calls: The run's own calls, by which the step is counted.
        order: Says which samples are the step's.
        state: The position, and what the step has gathered.
        updater: Applies the gradients.
        monitor: Looks at the step where a resume is watched.
        cut: Told into how many samples the step is cut.
        audit: Looks at the first loss for what it trains beside the run.
    """

    def __init__(
        self,
        calls: LoopCalls,
        *,
        order: StepBatches,
        state: TrainingState,
        updater: Updater,
        monitor: ResumeMonitor,
        cut: StepCut,
        audit: SelfAudit,
    ) -> None:
        self._calls = calls
        self._state = state
        self._updater = updater
        self._monitor = monitor
        self._cut = cut
        self._audit = audit
        self.indices = tuple(int(i) for i in order.at(state.position))
        """Sample numbers of the whole step batch."""
        self.ids = [order.ids[i] for i in self.indices]
        """Names of the samples of the step batch, in order."""
        self.number = state.position.step + 1
        """This step's number; the first of a run is 1."""

    @property
    def samples_done(self) -> int:
        """Samples of the step batch that went forward and backward already."""
        return self._state.position.samples

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
        self._cut.plan(min(size, len(self.indices)))
        while self.samples_done < len(self.indices):
            start = self.samples_done
            self._calls.seed_micro_batch()
            indices = self.indices[start : start + size]
            yield MicroBatch(self._state.position, indices)
            self._calls.micro_batch_done(len(indices))

    def begin_again(self) -> None:
        """Go back to the step's start: what its micro-batches left so far is dropped.

        For a step that can't be finished as it was cut. Nothing was updated yet, and all randomness
        follows from the position, so it is as if the step had just begun.
        """
        self._state.drop_unfinished_step()

    def backward(self, loss: torch.Tensor, **named: torch.Tensor | float) -> None:
        """Go backward and add to the step's sums.

        Args:
            loss: 0-dim; this micro-batch's share of the step's loss (shares are summed).
            named: Further shares to be summed, written to the journal by name.

        Raises:
            NotEncodable: The first loss of a start trains something that is not declared.
        """
        self._audit.before_backward(loss)
        self._state.has_uncounted = True
        self._updater.backward(loss)
        self._state.sums.add("loss", loss)
        for name, each in named.items():
            self._state.sums.add(name, each)

    def losses(self) -> dict[str, float]:
        """Return what `backward` was given in this step so far, summed by name."""
        return {name: float(each) for name, each in self._state.sums.values.items()}

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
        state, updater = self._state, self._updater
        if self.samples_done != len(self.indices):
            raise RuntimeError(
                f"update() after {self.samples_done} of {len(self.indices)} samples of the step"
            )
        updater.unscale()
        self._monitor.before_update(self.number)
        norm = clip_gradients(state.trained.values(), clip_norm)
        losses, grad_norm, entries = to_host(state.sums.values, norm, state.fingerprint.entries)
        bad = [name for name, each in losses.items() if not math.isfinite(each)]
        if not math.isfinite(grad_norm) and not updater.scaler_skips:
            bad.append("grad_norm")
        if bad and on_nonfinite == "stop":
            raise self._went_bad(bad, losses, grad_norm)
        applied: dict[str, Any] = {
            "grad_norm": grad_norm,
            "rate": updater.rate,
            "rates": state.rates() if self._monitor.is_watching else {},
            "fingerprint": state.fingerprint.summary(entries),
        }
        skipped = not self._updated(leave_out=bool(bad))
        updater.drop_gradients()
        return self._calls.end_step(losses, skipped=skipped, **applied)

    def _updated(self, *, leave_out: bool) -> bool:
        """Make the update, unless it is to be left out; say whether it was applied."""
        if leave_out:
            self._updater.leave_out()
            return False
        applied = self._updater.apply()
        if applied:
            self._monitor.after_update(self.number)
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
