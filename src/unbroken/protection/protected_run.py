"""The run of a protected function: it begins by itself, with the differences that were accepted."""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any

from unbroken.protection.kept_table import KeptTable
from unbroken.run.resume import ResumeReport
from unbroken.run.run import Run


class ProtectedRun(Run):
    """Gives out its batches to a loop over the loader itself."""

    accepted: Collection[str] = ()
    table: KeptTable | None = None

    def resume(self, *given: Any, **named: Any) -> ResumeReport:
        """Continue the run, or begin one; see `Run.resume`."""
        return super().resume(*given, **{"accept": self.accepted, **named})

    def begin(self) -> None:
        """Resume the run, and keep the table of what it saves."""
        self._ready()
        if self.table is not None:
            self.table.keep()

    def batches_of_loader(self) -> Generator[Any]:
        """Yield what is left of the epoch, to a loop over the loader itself."""
        return self._started("loader", None)

    def require_not_ended(self) -> None:
        """End a program again that has caught the error of its stop, and goes on.

        Raises:
            Stopped: It has.
        """
        self._loops.require_not_ended()

    def has_last_batch(self) -> bool:
        """Say whether the batch that is out is the last one of its epoch."""
        position = self.position
        return position.batch + 1 >= self._order.steps_in(position.epoch)
