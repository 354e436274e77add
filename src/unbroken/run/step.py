"""One step of a run: its step batch, cut into micro-batches, and the update at its end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch

from unbroken.audit.self_audit import SelfAudit
from unbroken.errors import RunMisused, StateMismatch
from unbroken.order.step_batches import MicroBatch
from unbroken.run.monitor import ResumeMonitor
from unbroken.run.order import Order
from unbroken.run.shared_step import SharedStep
from unbroken.run.step_cut import StepCut
from unbroken.run.step_result import StepResult
from unbroken.run.step_update import StepUpdate
from unbroken.run.update import Updater
from unbroken.state.training_state import TrainingState


class LoopCalls(Protocol):
    """The calls that a loop of one's own makes on its run; a step makes them for its loop."""

    def seed_micro_batch(self) -> None:
        """Set the global generators from the position."""

    def micro_batch_done(self, samples: int) -> None:
        """Count a micro-batch whose gradients and sums are in."""

    def pass_over(self, samples: int) -> None:
        """Count samples of the step that another process trains."""

    def end_step(self, losses: Mapping[str, float], **applied: Any) -> StepResult:
        """Count a completed step and write its line into the journal."""

    def give_up_step(self, why: str) -> StepResult:
        """Count a step that can't be done, without an update."""


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
        shared: This process's share of the step, where several train.
    """

    def __init__(
        self,
        calls: LoopCalls,
        *,
        order: Order,
        state: TrainingState,
        updater: Updater,
        monitor: ResumeMonitor,
        cut: StepCut,
        audit: SelfAudit,
        shared: SharedStep,
    ) -> None:
        self._calls = calls
        self._state = state
        self._updater = updater
        self._monitor = monitor
        self._cut = cut
        self._audit = audit
        self._shared = shared
        shared.begin()
        self._began_at = state.position.samples
        numbers = order.at(state.position)
        self.indices = tuple(numbers if isinstance(numbers, range) else map(int, numbers))
        """Sample numbers of the whole step batch."""
        self.ids = order.names_at(state.position)
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
        between two micro-batches: the run saves, partial gradients and all. Where several processes
        train, these are the micro-batches of this one's share, which may have none; a stop then waits
        for the step's end.
        """
        begin, end = self._shared.mine(self.samples_done, len(self.indices), size)
        begin = max(begin, self.samples_done)  # what an earlier call has gone through stays done
        size = self._shared.cut(size)
        self._cut.plan(min(size, len(self.indices)))
        is_resumed_inside = 0 < self.samples_done == self._began_at
        if is_resumed_inside and not self._shared.is_leader:  # which has what was gathered before
            self._calls.seed_micro_batch()
            self._state.drop_gradients()
            self._state.sums.clear()
        self._calls.pass_over(begin - self.samples_done)
        while self.samples_done < end:
            start = self.samples_done
            self._calls.seed_micro_batch()
            indices = self.indices[start : min(start + size, end)]
            yield MicroBatch(self._state.position, indices)
            self._shared.leaf_done(self._state, start, size)
            self._calls.micro_batch_done(len(indices))
        self._calls.pass_over(len(self.indices) - max(end, self.samples_done))

    def micro_batches_left(self, size: int) -> int:
        """Return how many micro-batches this process has left of the step.

        Args:
            size: Most samples of each.
        """
        begin, end = self._shared.mine(self.samples_done, len(self.indices), size)
        return -(-max(0, end - max(begin, self.samples_done)) // self._shared.cut(size))

    @property
    def is_shared(self) -> bool:
        """Whether several processes train it."""
        return not self._shared.is_alone

    def begin_again(self) -> None:
        """Go back to the step's start: what its micro-batches left so far is dropped.

        For a step that can't be finished as it was cut. Nothing was updated yet, and all randomness
        follows from the position, so it is as if the step had just begun.

        Raises:
            RunMisused: Several processes train, and the step was begun before a stop.
        """
        if self._shared.is_fixed:
            raise RunMisused(
                f"Step {self.number} is to be cut into smaller micro-batches, and virtual_devices says how "
                "it is cut.",
                "Its gradients would be rounded otherwise on this device than on others.",
                "Use a device with more memory, or begin a run with more virtual devices.",
            )
        if self._began_at and not self._shared.is_alone:
            raise RunMisused(
                f"Step {self.number} was begun before a stop, and can't begin again in several processes.",
                "What one rank drops the others would count.",
                "Resume this step in one process, or with smaller micro-batches.",
            )
        self._calls.seed_micro_batch()  # undoes what a resumed step's beginning did a second time
        self._state.drop_unfinished_step()

    def backward(
        self,
        loss: torch.Tensor,
        *,
        create_graph: bool = False,
        retain_graph: bool = False,
        **named: torch.Tensor | float,
    ) -> None:
        """Go backward and add to the step's sums.

        Args:
            loss: 0-dim; this micro-batch's share of the step's loss (shares are summed).
            create_graph: Give the gradients a graph, for an optimiser that goes backward once more. It
                can't be saved: a stop is then honoured at the end of the step.
            retain_graph: Keep the graph for another backward pass.
            named: Further shares to be summed, written to the journal by name.

        Raises:
            NotEncodable: The first loss of a start trains something that is not declared.
        """
        self._audit.before_backward(loss)
        self._state.has_uncounted = True
        self._state.has_graph |= create_graph
        if create_graph or retain_graph:
            self._updater.backward_keeping_graph(loss, create_graph=create_graph)
        else:
            self._updater.backward(loss)
        self._state.sums.add("loss", loss)
        for name, each in named.items():
            self._state.sums.add(name, each)

    def losses(self) -> dict[str, float]:
        """Return what `backward` was given in this step so far, summed by name."""
        return {name: float(each) for name, each in self._state.sums.values.items()}

    def update(
        self,
        clip_norm: float = 0.0,
        on_nonfinite: Literal["stop", "skip"] = "stop",
        *,
        optimizers: Collection[str] | None = None,
        closure: Callable[[], torch.Tensor] | None = None,
        score: float | None = None,
    ) -> StepResult:
        """Complete the step: unscale, clip, test for finiteness, update, schedule, journal.

        Args:
            clip_norm: Largest norm of all gradients together; 0 for no clipping.
            on_nonfinite: What to do about a loss or gradient that isn't finite.
            optimizers: Names of those to update with; None for all of `Run(optimizer=...)`. The others
                are the loop's to step.
            closure: Zeroes the gradients, goes forward and backward over the samples of the step that
                are left, and returns the loss, 0-dim, for an optimiser that evaluates it several times.
                Loss and gradient norm of the first evaluation are the step's.
            score: What a `ReduceLROnPlateau` among `Run(scheduler=...)` takes; None for none.

        Raises:
            TrainingWentBad: Something isn't finite; nothing was updated.
            Diverged: After a resume, what is frozen was moved or a repeated step came out otherwise.
            RunMisused: Samples of the step are missing, or an optimiser has stepped already.
        """
        update = StepUpdate(
            self._state,
            self._updater,
            self._monitor,
            step=self.number,
            ids=self.ids,
            clip_norm=clip_norm,
            skips_nonfinite=on_nonfinite == "skip",
            optimizers=optimizers,
        )
        self._shared.require_can_update(by_closure=closure is not None)
        if closure is not None:
            applied = update.by_closure(closure, self._take_what_is_left)
        else:
            self._require_all_samples()
            self._shared.add_up(self._state, self._began_at, len(self.indices))
            applied = update.of_gradients()
        if not applied["skipped"]:
            self._updater.move_schedules(self._state.position.updates + 1, score)
        return self._calls.end_step(applied.pop("losses"), **applied)

    def end(self, losses: Mapping[str, float] | None = None, **applied: Any) -> StepResult:
        """Complete a step whose updates the loop has made itself; `update` makes them otherwise.

        Args:
            losses: What is to be journalled, by name; None for what `backward` was given.
            applied: Other fields of `StepResult`, where they are known.
        """
        return self._calls.end_step(self.losses() if losses is None else losses, **applied)

    def give_up(self, why: str) -> StepResult:
        """Leave the step out: it can't be done. Its gradients are dropped, and the next one follows.

        The journal keeps that it was given up, and a resume that repeats it expects that again.

        Args:
            why: A sentence for the journal.
        """
        return self._calls.give_up_step(why)

    def leave(self) -> None:
        """Meet a loop's body that has ended without `update`.

        One that was left in its midst with its gradients zeroed was given up.

        Raises:
            RunMisused: It was forgotten, or the loop has updated by itself.
        """
        if self._was_left_in_its_midst():
            self.give_up("the loop left it in its midst")
            return
        stepped = sorted(self._state.optimizer_steps.names)
        by_hand = f" Its optimiser was stepped by hand: {', '.join(stepped)}." if stepped else ""
        raise RunMisused(
            f"Step {self.number} was left without step.update().{by_hand}",
            "It is not counted: a resume would train it again.",
            "Call step.end() after updates of your own, step.update() to have them made, or "
            "step.give_up(why) where the step can't be done.",
        )

    def _was_left_in_its_midst(self) -> bool:
        return (
            self._cut.largest > 0
            and self.samples_done < len(self.indices)
            and not self._state.optimizer_steps.names
            and all(each.grad is None for each in self._state.updated.values())
        )

    def _take_what_is_left(self) -> None:
        """Count the samples that no micro-batch has taken: a closure uses them at once."""
        left = len(self.indices) - self.samples_done
        if left:
            self._calls.seed_micro_batch()
            self._calls.micro_batch_done(left)

    def _require_all_samples(self) -> None:
        if self.samples_done != len(self.indices):
            raise RunMisused(
                f"step.update() came after {self.samples_done} of the {len(self.indices)} samples of "
                f"step {self.number}.",
                "The samples that are missing would be left out of the training without a trace.",
                "Go through all of step.micro_batches(...) before it, or call step.give_up(why).",
            )
