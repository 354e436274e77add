"""What a run is called where its curves are shown, and the trackers that were asked for."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from unbroken import RunDirectory, Tracker, tracker
from unbroken_tts.settings import TrainSettings


def curves_name(root: Path, run_id: str) -> str:
    """Return the name of a run's curves, made from the time it began."""
    born = RunDirectory(root).created
    if born is None:  # edited by somebody
        return f"run_{run_id}"
    # In UTC: the name stays the same if the run continues in another time zone.
    return time.strftime("run_%Y%m%d_%H%M%S", time.gmtime(born))


def trackers_of(settings: TrainSettings, root: Path) -> list[Tracker]:
    """Return the trackers of `--track`; their runs have the name of the curves.

    Raises:
        SettingsInvalid: The package of one is missing.
    """
    name = os.environ.get("INDEXTTS_RUN_NAME") or partial(curves_name, root)
    kinds = dict.fromkeys(settings.track)
    return [tracker(kind, project=settings.track_project, name=name) for kind in kinds]
