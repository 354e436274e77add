"""How the earlier trainer cut its steps: as its file says, as the user says, or as its counters allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unbroken import SettingsInvalid
from unbroken_tts.rescue.old_checkpoint import Geometry, OldCheckpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_ACCUMULATION = 1024
"""Largest accumulation that is tried."""


def geometry_of(
    old: OldCheckpoint, readable: Sequence[OldCheckpoint], samples: int, asked: tuple[int, int]
) -> tuple[Geometry, str]:
    """Return how steps were cut at the end, and where that is known from.

    Args:
        old: The file to go on from.
        readable: All files whose counters are known.
        samples: Of the training data then.
        asked: --batch-size and --grad-accumulation; 0 where one was not given.

    Raises:
        SettingsInvalid: Neither the files nor the flags say, and the counters allow several.
    """
    told = [each for each in readable if each.geometry and each.step == old.step]
    if old.geometry is not None:
        return old.geometry, f"from {old.name}"
    if told and told[0].geometry is not None:
        return told[0].geometry, f"from {told[0].name}"
    batch, accumulation = asked
    if batch and accumulation:
        return Geometry(batch=batch, accumulation=accumulation), "from the flags"
    possible = possible_geometries(old, samples)
    if len(possible) == 1:
        return possible[0], "the only one that its counters allow"
    listed = ", ".join(map(str, possible[:8])) or "none"
    raise SettingsInvalid(
        f"{old.path} doesn't say how its steps were cut; its counters allow {listed}.",
        "Position, schedule and effective batch of the old run follow from it.",
        "Give the old run's --batch-size and --grad-accumulation.",
    )


def possible_geometries(old: OldCheckpoint, samples: int) -> list[Geometry]:
    """Return every cut with which the counters of a file follow from one another."""
    found = []
    for batch in range(1, samples + 1):
        epoch = -(-samples // batch)
        if old.batch_idx > epoch or (batch > 1 and -(-samples // (batch - 1)) == epoch):
            continue  # a smaller batch makes the same number of micro-batches
        for accumulation in range(1, min(MOST_ACCUMULATION, epoch) + 1):
            cut = Geometry(batch=batch, accumulation=accumulation)
            if cut.steps_at(samples, old.epoch, old.batch_idx) == old.step:
                found.append(cut)
    return found
