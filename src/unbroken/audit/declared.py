"""The objects that were declared to a run, by part name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_HELD_AS = ("module", "optimizer", "target", "generator")
"""Attributes under which a part holds its object."""


_IN_ITS_PLACE = "looked_at"
"""Attribute of an object of an adapter's: what is looked at in its place."""
_SAVES = "saved_objects"
"""Likewise: the objects, of whatever part, that it saves as a whole."""
_SAVES_FOR = "saved_for"
"""Likewise: what it saves of other parts, by their names."""


def declared_objects(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object behind each part."""
    return {
        name: getattr(each, _IN_ITS_PLACE, each) if _is_adapter(each) else each
        for name, each in _held(parts)
    }


def saved_by_adapters(parts: Mapping[str, Any]) -> list[Any]:
    """Return the objects that parts of an adapter save, wherever they are reached."""
    return [
        saved
        for _, each in _held(parts)
        if _is_adapter(each)
        for saved in getattr(each, _SAVES, ())
    ]


def with_what_adapters_save(
    parts: Mapping[str, Any], captured: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the state of each part, with what parts of an adapter save of it."""
    found = dict(captured)
    for own, each in _held(parts):
        if _is_adapter(each):
            for name, state in getattr(each, _SAVES_FOR, {}).items():
                found[name] = {"own": found[name], own: state}
    return found


def _held(parts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, part in parts.items():
        for attribute in _HELD_AS:
            if hasattr(part, attribute):
                yield name, getattr(part, attribute)


def _is_adapter(each: Any) -> bool:
    return type(each).__module__.startswith("unbroken.integrations.")
