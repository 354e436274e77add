"""When the earlier trainer was started, by the event files that each start left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

if TYPE_CHECKING:
    from pathlib import Path


def first_steps(directory: Path) -> list[int]:
    """Return the first step that each start logged, in the order of the starts.

    The earlier trainer writes one event file a start, below `logs/`. Files that can't be read, or
    have no curve, are left out.

    Args:
        directory: The output directory.
    """
    found = []
    for path in directory.glob("logs/**/events.out.tfevents.*"):
        step = _first_step(path)
        if step is not None:
            found.append((path.name, step))
    return [step for _, step in sorted(found)]


def _first_step(path: Path) -> int | None:
    try:
        for event in EventFileLoader(str(path)).Load():
            if event.summary.value:
                return int(event.step)
    except Exception:  # noqa: BLE001 -- whatever a damaged file raises, it tells nothing
        return None
    return None
