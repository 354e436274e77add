"""A step that several processes train: each a share of its samples, all of them the same update."""

from __future__ import annotations

from unbroken.errors import RunMisused
from unbroken.order.share import Share
from unbroken.order.step_batches import StepBatches
from unbroken.ranks.gradients import add_up
from unbroken.ranks.group import OneProcess, Ranks
from unbroken.run.fixed_sum import FixedSum
from unbroken.run.order import Order
from unbroken.state.training_state import TrainingState


class SharedStep:
    """What a step needs to know of the other processes.

    Args:
        ranks: The processes; one where the program divides the samples itself.
        order: Knows how many samples a full step has.
    """

    def __init__(self, ranks: Ranks, order: Order) -> None:
        self._order = order if isinstance(order, StepBatches) else None
        self._ranks = ranks if self._order is not None else OneProcess()
        self._share = Share(rank=self._ranks.rank, count=self._ranks.count)
        self._mine: tuple[int, int] | None = None
        is_fixed = self._order is not None and self._order.virtual_devices > 0
        self._tree = FixedSum(self._ranks) if is_fixed else None

    @property
    def is_alone(self) -> bool:
        """Whether this process trains whole steps."""
        return self._ranks.count == 1

    def begin(self) -> None:
        """Begin a step; what one that was left or given up has gathered is dropped."""
        self._mine = None
        if self._tree is not None:
            self._tree = FixedSum(self._ranks)

    @property
    def is_leader(self) -> bool:
        """Whether this process has what a step had gathered before a stop."""
        return self._ranks.rank == 0

    def cut(self, size: int) -> int:
        """Return the size of micro-batches, where the loop asks for `size`."""
        return size if self._order is None else self._order.cut(size)

    def mine(self, begin: int, end: int, size: int) -> tuple[int, int]:
        """Return the first sample of this process's share and the one after its last.

        A step that begins again, in smaller micro-batches, keeps its share: the others have theirs.

        Args:
            begin: Samples of the step that are done.
            end: Samples that it has.
            size: Most samples of a micro-batch.
        """
        if self._order is None:
            return begin, end
        if self.is_alone or self._mine is None:
            self._mine = self._share.of(begin, end, self._order.cut(size))
        return self._mine

    def leaf_done(self, state: TrainingState, start: int, size: int) -> None:
        """Take what a micro-batch left, where it is added up in a fixed order.

        Args:
            state: Has it.
            start: Number of its first sample in the step.
            size: Samples of a micro-batch.
        """
        if self._tree is not None:
            self._tree.take(state, start // size)

    def add_up(self, state: TrainingState, begin: int, end: int) -> None:
        """Give this process the gradients and sums of the whole step; the next one may follow.

        Args:
            state: What is updated, and what this process has gathered.
            begin: Samples that were done when the step began.
            end: Samples that it has.

        Raises:
            RunMisused: A gradient has a form that can't be added up, or the ranks left samples out.
            RankFailed: A rank ended, or does not answer.
        """
        if state.optimizer_steps.names and not (self.is_alone and self._tree is None):
            raise RunMisused(
                f"The loop has stepped {', '.join(sorted(state.optimizer_steps.names))} before step.update().",
                "It had the gradients of this process's share alone, or none: they are added up in update().",
                "Have every optimizer stepped by step.update(), or train in one process without virtual "
                "devices.",
            )
        mine, self._mine = self._mine or (begin, begin), None
        if not self.is_alone:
            _require_all(self._ranks.gather(mine), begin, end)
        if self._tree is not None:
            self._tree.add_up(state)
        elif not self.is_alone:
            add_up(self._ranks, list(state.updated.values()), state.sums.values)

    @property
    def is_fixed(self) -> bool:
        """Whether micro-batches are cut and added up in one way, on any number of processes."""
        return self._tree is not None

    def require_can_update(self, *, by_closure: bool) -> None:
        """Refuse what several processes can't do.

        Raises:
            RunMisused: An optimiser evaluates the loss by itself.
        """
        if by_closure and not (self.is_alone and self._tree is None):
            raise RunMisused(
                "step.update() was given a closure, and several processes train, or virtual devices.",
                "Each rank would evaluate the loss of its own samples, and update otherwise.",
                "Train in one process, or with an optimizer that takes gradients.",
            )


def _require_all(shares: list[tuple[int, int]], begin: int, end: int) -> None:
    """Refuse a step of which ranks trained samples twice, or not at all."""
    at = begin
    for first, last in shares:
        if first != at:
            break
        at = last
    if at != end:
        raise RunMisused(
            f"The ranks trained the samples {', '.join(f'{a} to {b}' for a, b in shares)} of a step with {end}.",
            "Some would be used twice, or left out without a trace. Nothing was updated.",
            "Cut steps alike on every rank: give step.micro_batches() the same size.",
        )
