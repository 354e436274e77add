"""What a tracker has to do for a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class Tracker(Protocol):
    """Shows the numbers of a run, as one curve over all its starts.

    Its calls come from a thread of its own, one after the other, so a slow one holds no step up. They
    must not draw from the global generators of `random`, numpy or torch: the training does meanwhile.
    An exception is told once, and the tracker is left out until the next start, which hands over
    what is missing.
    """

    def begin(self, run_id: str, step: int) -> int | None:
        """Go on with the tracker's own run of this name, or begin it.

        Args:
            run_id: The run's name for itself, the same at each start.
            step: Values after it are not known to be there, or come again. A tracker that appends, and
                can't be asked, hides what it has of later steps here.

        Returns:
            The last step that it has: later ones are handed over, and none before. None where it
            can't tell; the run then goes by what it has handed over.
        """
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take in values of a step, by name.

        Steps ascend. A step comes twice only with other names, where a score was measured late.

        Args:
            step: Steps completed.
            values: `train/loss` and what else the loop told, `train/lr` and `train/grad_norm` where
                they are known; scores of `run.metrics` by their own names.
        """
        ...

    def close(self) -> None:
        """Write what waits, and end this start; a later one goes on."""
        ...
