"""Pinned checkpoints: their names are in a file beside them, since a checkpoint never changes."""

from __future__ import annotations

import json
from collections.abc import Iterable

from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout
from unbroken.errors import DataInvalid


def read_pins(layout: Layout) -> frozenset[str]:
    """Return the names of the pinned checkpoints of a run.

    Raises:
        DataInvalid: The file exists but can't be read.
    """
    try:
        found = json.loads(layout.pins.read_bytes())["pinned"]
        if isinstance(found, list) and all(isinstance(each, str) for each in found):
            return frozenset(found)
        problem = "it contains no list of names"
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise DataInvalid(
        f"{layout.pins} can't be read ({problem}).",
        "It names the checkpoints that must never be deleted, so nothing is deleted.",
        'Rewrite it as {"pinned": ["step-00001000"]}, or delete it if nothing is pinned.',
    )


def write_pins(layout: Layout, names: Iterable[str]) -> None:
    """Replace the names of the pinned checkpoints.

    Raises:
        OSError: The directory can't be written.
    """
    text = json.dumps({"pinned": sorted(set(names))}, indent=1, ensure_ascii=False)
    disk.replace_file(layout.pins, f"{text}\n".encode())
