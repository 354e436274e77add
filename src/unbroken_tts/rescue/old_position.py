"""Where an old run goes on within its data: the samples it used in a half-finished epoch are unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unbroken import Position, counted
from unbroken_tts.rescue.old_checkpoint import Geometry, OldCheckpoint

RescuePosition = Literal["next-epoch", "restart-epoch", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldPlace:
    """A position in our order, and what it costs."""

    position: Position
    repeated: int
    """Samples that are trained twice in this epoch; an expectation where `is_expected`."""
    missing: int
    """Samples that are not trained in this epoch; an expectation where `is_expected`."""
    is_expected: bool
    """Whether the two are means over the unknown set of samples."""

    def __str__(self) -> str:
        about = "about " if self.is_expected else ""
        return (
            f"{about}{counted(self.repeated, 'sample')} of the epoch repeated, "
            f"{about}{self.missing} left out"
        )


def place_in_data(
    how: RescuePosition, old: OldCheckpoint, cut: Geometry, samples: int, effective: int
) -> OldPlace:
    """Return where to go on.

    Args:
        how: `next-epoch` leaves the rest of a half-finished epoch out, `restart-epoch` trains all of
            it again, `count` skips as many samples of our order as were used of the old one.
        old: The file to go on from.
        cut: How its steps were cut.
        samples: Of the training data now.
        effective: Samples of a step now.
    """
    used = min(old.batch_idx * cut.batch, samples)
    left = samples - used
    epoch, batch = old.epoch, 0
    repeated = missing = 0
    if not used:
        pass
    elif how == "restart-epoch":
        repeated = used
    elif how == "next-epoch" or used // effective >= -(-samples // effective):
        epoch, missing = epoch + 1, left
    else:
        batch = used // effective
        ahead = samples - batch * effective
        repeated = round(ahead * used / samples)
        missing = round((samples - ahead) * left / samples)
    return OldPlace(
        position=Position(
            epoch=epoch, batch=batch, samples=0, step=old.step, updates=old.last_epoch
        ),
        repeated=repeated,
        missing=missing,
        is_expected=bool(batch),
    )
