"""The directory of a run: its identity, and moving an earlier run away."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from pathlib import Path
from typing import Final

from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout
from unbroken.errors import SettingsInvalid
from unbroken.state.digest import DIGEST_SCHEME
from unbroken.state.mix import ORDER_SCHEME
from unbroken.state.random_streams import SEED_SCHEME, SEED_SCHEMES

FORMAT = 1
SCHEMES: Final = {
    "order_scheme": ORDER_SCHEME,
    "seed_scheme": SEED_SCHEME,
    "digest_scheme": DIGEST_SCHEME,
}
"""By which numbered ways a run that begins now derives and digests."""

_STAMP = "%Y%m%d-%H%M%S"


def run_id_of(layout: Layout) -> str | None:
    """Return the id of the run in a directory, or None if there is none.

    Raises:
        SettingsInvalid: `run.json` is not an unbroken run's, or has an unknown scheme.
    """
    try:
        content = json.loads(layout.run_file.read_bytes())
        run_id = content["run_id"]
        schemes = {name: content[name] for name in SCHEMES}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SettingsInvalid(
            f"{layout.run_file} is not the file of an unbroken run ({type(error).__name__}).",
            "It may belong to another tool, or it is damaged; it is left alone.",
            "Choose another directory.",
        ) from error
    known = schemes["seed_scheme"] in SEED_SCHEMES and schemes == {
        **SCHEMES,
        "seed_scheme": schemes["seed_scheme"],
    }
    if not known or content.get("format") != FORMAT or not isinstance(run_id, str):
        raise SettingsInvalid(
            f"{layout.run_file} was written with {schemes}, format {content.get('format')}.",
            f"This version knows {SCHEMES}, format {FORMAT}; another order would be another run.",
            "Continue it with the version that began it.",
        )
    return run_id


def seed_scheme_of(layout: Layout) -> int:
    """Return the seed scheme of the run in a directory whose `run_id_of` is known."""
    return int(json.loads(layout.run_file.read_bytes())["seed_scheme"])


def begin_run(
    layout: Layout, seed: int, run_id: str | None = None, seed_scheme: int = SEED_SCHEME
) -> str:
    """Write `run.json` and return the run's id.

    Args:
        layout: The run's directory.
        seed: The run's.
        run_id: Of a run whose file was lost; None for a new run.
        seed_scheme: By which it derives its randomness.
    """
    run_id = run_id or uuid.uuid4().hex[:12]
    disk.make_directory(layout.root)
    content = {"format": FORMAT, "run_id": run_id, "created": time.time(), "seed": seed, **SCHEMES}
    content["seed_scheme"] = seed_scheme
    disk.replace_file(layout.run_file, (json.dumps(content, indent=1) + "\n").encode())
    return run_id


def move_to_earlier(layout: Layout, run_id: str) -> Path:
    """Move the run in a directory to `earlier/<date>-<run id>/`; return the new path.

    The rename of `run.json` decides: before it the old run is there, after it the directory has no
    run. The other files follow; `finish_moving` completes the move after an interruption.
    """
    place = layout.earlier / f"{_stamp(layout.earlier)}-{run_id}"
    disk.make_directory(place)
    disk.rename(layout.run_file, place / layout.run_file.name)
    finish_moving(layout)
    return place


def _stamp(earlier: Path) -> str:
    """Return the time for a name, later than in all existing names.

    A clock may be set back, as in every autumn; an interrupted move is found by the latest name.
    """
    names = [each.name[:15] for each in earlier.iterdir()] if earlier.is_dir() else []
    now = dt.datetime.now().replace(microsecond=0)  # noqa: DTZ005  # local time, for users
    known = [found for each in names if (found := _time_of(each)) is not None]
    latest = max(known, default=None)
    if latest is not None and now <= latest:
        now = latest + dt.timedelta(seconds=1)
    return now.strftime(_STAMP)


def _time_of(stamp: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(stamp, _STAMP)  # noqa: DTZ007  # as it was written
    except ValueError:
        return None


def finish_moving(layout: Layout) -> None:
    """Bring what is left of a moved run to its `run.json`, where a move was interrupted."""
    newest = place_of_interrupted_move(layout)
    if newest is None:
        return
    for source in layout.moved:
        if _is_left(source, newest):
            disk.rename(source, newest / source.name)


def place_of_interrupted_move(layout: Layout) -> Path | None:
    """Return where a run was being moved to whose rest is still here; None for no such move."""
    if layout.run_file.exists() or not layout.earlier.is_dir():
        return None
    places = [each for each in layout.earlier.iterdir() if Layout(each).run_file.is_file()]
    newest = max(places, key=lambda each: each.name[:15], default=None)
    if newest is None or not any(_is_left(each, newest) for each in layout.moved):
        return None
    return newest


def _is_left(source: Path, place: Path) -> bool:
    return source.exists() and not (place / source.name).exists()
