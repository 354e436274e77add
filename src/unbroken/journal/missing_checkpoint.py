"""Finds a checkpoint that the record of a run names but that no longer exists.

Retention only deletes checkpoints older than the newest undamaged one. So a missing checkpoint that
is newer than the one to resume was removed by somebody else, or omitted from a copy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unbroken.checkpoint.commit import replaced_name
from unbroken.checkpoint.layout import LONGEST_NAME, MANIFEST, Layout, Place, place_in_name
from unbroken.journal.journal import read_lines
from unbroken.state.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCheckpoint:
    """The newest checkpoint that was saved and is missing."""

    name: str
    step: int
    saved: float | None
    """Seconds since 1970, UTC; None where only `latest` tells of it."""
    lacks_manifest: bool = False
    """Whether its directory is there, without the file that makes it a checkpoint."""


def missing_checkpoint(layout: Layout, chosen: Position) -> MissingCheckpoint | None:
    """Return the newest missing checkpoint beyond a position, or None.

    Checkpoints from which a start or a repair went back are not counted as missing.

    Args:
        layout: The run's directory; nothing is changed.
        chosen: Position of the newest undamaged checkpoint.
    """
    saved: dict[str, float | None] = {}
    given_up: set[str] = set()
    for line in read_lines(layout.history):
        event, name = line.get("event"), line.get("checkpoint")
        if event in ("start", "repaired"):
            here = _start(line) if event == "start" else place_in_name(str(name))
            gone = [each for each in saved if here is not None and _is_beyond(each, here)]
            given_up.update(gone)
            for each in gone:
                del saved[each]
        if event in ("saved", "repaired") and isinstance(name, str):
            time = line.get("time")
            saved[name] = float(time) if isinstance(time, int | float) else None
            given_up.discard(name)
    hint = _latest(layout)
    if hint not in given_up:
        saved.setdefault(hint, None)
    beyond = [each for each in saved if _is_beyond(each, (chosen.step, chosen.samples))]
    missed = [each for each in beyond if not _is_there(layout, each)]
    newest = max(missed, key=lambda each: place_in_name(each) or (0, 0), default=None)
    if newest is None:
        return None
    return MissingCheckpoint(
        name=newest,
        step=(place_in_name(newest) or (0, 0))[0],
        saved=saved[newest],
        lacks_manifest=(layout.checkpoints / newest).is_dir(),
    )


def _start(line: Mapping[str, Any]) -> Place | None:
    """Return the position from which a start continued."""
    step, samples = line.get("step"), line.get("samples", 0)
    return (step, samples) if type(step) is int and type(samples) is int else None


def _is_beyond(name: str, place: Place) -> bool:
    own = place_in_name(name)
    return own is not None and own > place


def _latest(layout: Layout) -> str:
    """Return the name in `latest`; empty if it can't be read."""
    try:
        with layout.latest.open(encoding="utf-8") as file:
            return file.read(LONGEST_NAME).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _is_there(layout: Layout, name: str) -> bool:
    places = [layout.checkpoints / each for each in (name, replaced_name(name))]
    return any(os.path.lexists(each / MANIFEST) for each in places)
