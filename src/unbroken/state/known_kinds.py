"""Objects of a known safe kind inside a state: written as plain values, made anew without running foreign code.

Enum members, named tuples, data classes, default dicts and random generators. A class is written by
its name and looked up among what the program has imported: reading a checkpoint imports nothing, and
calls nothing that a class defines.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Mapping
from enum import Enum
from typing import Any

from unbroken.state.generators import generator_state, is_generator, new_generator

_FACTORIES: dict[str, Any] = {
    each.__name__: each for each in (bool, dict, float, int, list, set, str, tuple)
}
"""What a default dict may make its values with."""


def known_kind(value: Any) -> dict[str, Any] | None:
    """Return `of`, what kind of object this is, and what it is made of; None for any other."""
    kind: Any = type(value)
    if kind is defaultdict:
        factory = value.default_factory
        name: Any = None if factory is None else getattr(factory, "__name__", "")
        if factory is not None and _FACTORIES.get(name) is not factory:
            return None
        return {"of": "defaultdict", "makes": name, "items": dict(value)}
    if is_generator(value):
        return {"of": "generator", "state": generator_state(value)}
    return _of_a_class(value, kind) if _found(kind) is kind else None


def _of_a_class(value: Any, kind: Any) -> dict[str, Any] | None:
    if isinstance(value, Enum) and value.name in kind.__members__:
        return {"of": "enum", "class": _name(kind), "name": value.name}
    if _is_named_tuple(kind):
        return {"of": "named tuple", "class": _name(kind), "items": list(value)}
    if dataclasses.is_dataclass(kind) and _is_all_fields(value):
        fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        return {"of": "data class", "class": _name(kind), "fields": fields}
    return None


def known_from(data: Mapping[str, Any]) -> Any:
    """Return the object that `known_kind` was given.

    Raises:
        ValueError: It names no class of this kind that the program has imported.
    """
    kind = data["of"]
    if kind == "defaultdict":
        makes = data["makes"]
        return defaultdict(None if makes is None else _FACTORIES[makes], data["items"])
    if kind == "generator":
        return new_generator(data["state"])
    found = _class(data["class"])
    if kind == "enum" and issubclass(found, Enum):
        return found.__members__[data["name"]]
    if kind == "named tuple" and _is_named_tuple(found):
        if len(data["items"]) != len(found._fields):  # type: ignore[attr-defined]  # a named tuple's
            raise ValueError("a named tuple of another length")
        return tuple.__new__(found, data["items"])
    if kind == "data class" and dataclasses.is_dataclass(found):
        made = object.__new__(found)
        names = [each.name for each in dataclasses.fields(found)]
        if set(names) != set(data["fields"]):
            raise ValueError("a data class with other fields")
        for name in names:
            object.__setattr__(made, name, data["fields"][name])
        return made
    raise ValueError("not a kind of object that is written")


def _name(kind: Any) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _found(kind: type) -> type | None:
    try:
        return _class(_name(kind))
    except ValueError:
        return None


def _class(name: Any) -> type:
    module, _, path = str(name).partition(":")
    found: Any = sys.modules.get(module)
    for each in path.split("."):
        found = vars(found).get(each) if hasattr(found, "__dict__") else None
    if not isinstance(found, type):
        raise ValueError(f"no class {name!r} that the program has imported")  # noqa: TRY004  # a name, not a type, is wrong
    return found


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple)


def _is_all_fields(value: Any) -> bool:
    """Say whether a data class's object holds its fields and nothing else."""
    names = {each.name for each in dataclasses.fields(value)}
    return set(getattr(value, "__dict__", {})) <= names and all(
        hasattr(value, name) for name in names
    )
