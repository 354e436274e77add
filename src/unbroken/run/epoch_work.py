"""The work at the end of an epoch: validation, a schedule by epochs, early stopping.

No checkpoint stands between an epoch's last step and the end of that work, so it runs exactly once,
whatever is interrupted.
"""

from __future__ import annotations

from unbroken.errors import SaveFailed, StateMismatch
from unbroken.state.position import Position


class EpochWork:
    """Knows whether the body of `for epoch in run.epochs(...)` has work of its epoch left to do."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The epoch whose body runs, from 0; None outside of `Run.epochs`."""
        self.is_left_early = False
        """Whether the body has left the batches of the epoch by itself."""
        self._save_is_wanted = False

    def begin(self, number: int) -> None:
        """Enter the body of an epoch."""
        self.number, self._save_is_wanted, self.is_left_early = number, False, False

    def leave_early(self) -> None:
        """Note that the body takes no more batches of its epoch: what follows is the epoch's work."""
        self.is_left_early = True

    def end(self) -> bool:
        """Leave the body; return whether a save was asked for in the work at its end."""
        self.number, self.is_left_early = None, False
        return self._save_is_wanted

    def has_steps(self, position: Position) -> bool:
        """Say whether steps of the epoch are left."""
        return position.epoch == self.number

    def is_to_do(self, position: Position) -> bool:
        """Say whether the epoch's steps are done and its body still runs."""
        return self.number is not None and (position.epoch != self.number or self.is_left_early)

    def is_resumed_inside(self, position: Position) -> bool:
        """Say whether the body's beginning ran before the checkpoint that was resumed."""
        return self.number is not None and (position.batch > 0 or position.samples > 0)

    def delays_save(self, position: Position, *, at_once: bool) -> bool:
        """Say whether a save has to wait for the work; one that is wanted `at_once` is made then."""
        self._save_is_wanted |= at_once and self.is_to_do(position)
        return self.is_to_do(position)

    def require_done(self, position: Position) -> None:
        """Refuse a save in the middle of the work.

        Raises:
            SaveFailed: The work is not done.
        """
        if self.is_to_do(position):
            raise SaveFailed(
                f"save() was called in the work at the end of epoch {self.number}.",
                "A start from that checkpoint would leave out the rest of this work. Nothing was "
                "saved.",
                "Call run.save_in_background(at_once=True): it saves when the work is done.",
            )

    def left_early(self, position: Position) -> StateMismatch:
        """Return the error for a body that left out steps of its epoch."""
        return StateMismatch(
            f"The body of epoch {self.number} ended after {position.batch} of its step batches.",
            "The rest of its samples would be left out without a trace.",
            "Train every step of `run.steps()`, or use run.steps(until=...) without run.epochs().",
        )
