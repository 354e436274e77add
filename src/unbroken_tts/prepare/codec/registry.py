"""Loads codecs by the name in the `codec.json` of their directory.

Other packages add codecs in the entry-point group `unbroken_tts.codecs`: name -> function from
the directory to the codec. Nothing in the directory itself is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.prepare.codec.codec import Codec
from unbroken_tts.prepare.codec.melvq import MelVq
from unbroken_tts.prepare.codec.semantic import SEMANTIC, SEMANTIC_2_5, refuse_to_load

DESCRIPTION = "codec.json"
"""The file in a codec's directory that names it."""
ENTRY_POINTS = "unbroken_tts.codecs"
"""The entry-point group in which installed packages register codecs."""

Loader = Callable[[Path], Codec]
_loaders: dict[str, Loader] = {
    MelVq.NAME: MelVq.load,
    SEMANTIC: refuse_to_load,
    SEMANTIC_2_5: refuse_to_load,
}


def register_codec(name: str, loader: Loader) -> None:
    """Register a codec in this process.

    Args:
        name: The value of `codec` in `codec.json`.
        loader: Function from the directory to the codec.

    Raises:
        SettingsInvalid: The name is already registered.
    """
    if name in _loaders:
        raise SettingsInvalid(
            f"There is already a codec called {name!r}.",
            "Two codecs of one name could not be told apart.",
            "Register it under another name.",
        )
    _loaders[name] = loader


def _loader(name: str) -> Loader:
    if name in _loaders:
        return _loaders[name]
    installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in installed:
        known = ", ".join(sorted({*_loaders, *installed}))
        raise SettingsInvalid(
            f"There is no codec called {name!r}; known are: {known}.",
            "Its codes can be neither made nor decoded without its implementation.",
            "Install the package that provides the codec, or choose a known one.",
        )
    loader: Loader = installed[name].load()
    return loader


def describe(directory: Path) -> dict[str, Any]:
    """Return the contents of a codec's `codec.json`.

    Raises:
        DataInvalid: It is missing or unreadable.
    """
    path = directory / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataInvalid(
            f"The codec description {path} can't be read ({error}).",
            "It names the codec that made the codes.",
            "Name a directory that contains a saved codec.",
        ) from error
    if not isinstance(description, dict) or not isinstance(description.get("codec"), str):
        raise DataInvalid(
            f"The codec description {path} names no codec.",
            'It must be an object with a text under "codec".',
            "Name a directory that holds a saved codec.",
        )
    return description


def load_codec(directory: Path) -> Codec:
    """Read a codec from its directory.

    Raises:
        DataInvalid: The directory contains no readable codec.
        SettingsInvalid: The codec's implementation is not installed.
    """
    return _loader(describe(directory)["codec"])(directory)
