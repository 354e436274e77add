"""What the ready trackers share: their package, imported where somebody wants it, and their name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from unbroken.errors import SettingsInvalid

Name = str | Callable[[str], str] | None
"""What a run is called in a tracker, or what makes that of its id; None for the id."""


def called(name: Name, run_id: str) -> str:
    """Return what a run is called; the same at each start."""
    return (name(run_id) if callable(name) else name) or run_id


def package(name: str, install: str) -> Any:
    """Return an imported package.

    Args:
        name: What is imported.
        install: What pip calls it.

    Raises:
        SettingsInvalid: It is missing, or can't be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        is_missing = isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]
        found = "is not installed" if is_missing else f"can't be imported: {error}"
        raise SettingsInvalid(
            f"The Python package {name.partition('.')[0]!r} {found}.",
            "Without it nothing can be handed to this tracker.",
            f"Install it (python -m pip install {install}), or leave the tracker out.",
        ) from error
