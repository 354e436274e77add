"""The objects that were declared to a run, by part name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HELD_AS = ("module", "optimizer", "target", "generator")
"""Attributes under which a part holds its object."""


def declared_objects(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object behind each part."""
    return {
        name: getattr(part, attribute)
        for name, part in parts.items()
        for attribute in _HELD_AS
        if hasattr(part, attribute)
    }
