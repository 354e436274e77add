"""Where a run stands. Every number counts things completed, so no one is off by one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from unbroken.errors import CheckpointCorrupt


@dataclass(slots=True, kw_only=True)
class Position:
    """The position of a run; a new run stands at zero everywhere, also in its epoch."""

    epoch: int = 0
    """Epochs completed."""
    batch: int = 0
    """Step batches completed within the current epoch."""
    samples: int = 0
    """Samples of the current step batch that went forward and backward already."""
    step: int = 0
    """Step batches completed since the run's birth."""
    updates: int = 0
    """Optimiser updates applied since the run's birth; a loss scaler may skip one of a step."""

    def state_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Any) -> Position:
        """Read a position back.

        Raises:
            CheckpointCorrupt: A counter is missing, surplus, negative, or not a whole number.
        """
        names = {field.name for field in fields(cls)}
        if (
            not isinstance(state, dict)
            or set(state) != names
            or any(type(each) is not int or each < 0 for each in state.values())
        ):
            raise CheckpointCorrupt(
                f"The position in a checkpoint is {state!r}.",
                f"It must hold the counters {', '.join(sorted(names))}, each a number from 0.",
                "Resume from another checkpoint.",
            )
        return cls(**state)


def with_samples(position: Position, samples: int) -> Position:
    """Return a position with other samples done; `dataclasses.replace` takes three times as long."""
    return Position(
        epoch=position.epoch,
        batch=position.batch,
        samples=samples,
        step=position.step,
        updates=position.updates,
    )


def with_updates(position: Position, updates: int) -> Position:
    """Return a position with other updates applied."""
    return Position(
        epoch=position.epoch,
        batch=position.batch,
        samples=position.samples,
        step=position.step,
        updates=updates,
    )
