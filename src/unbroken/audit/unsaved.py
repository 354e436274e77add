"""What is told of state that no checkpoint holds: its path, what it is, and the line that saves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from unbroken.audit.walk import CONTAINERS, GENERATORS, Reached
from unbroken.state.parts import Stateful
from unbroken.tree import unwrap

_SHOWN: Final = 12


class Way(StrEnum):
    """How something comes into the state."""

    DECLARE = "declare"
    """It is an object that can be saved, and becomes a part."""
    PERSISTENT = "persistent"
    """It is a buffer that is left out of the state on purpose."""
    BUFFER = "buffer"
    """It is a tensor, number or flag of a module, and becomes a buffer."""
    EXTRA_STATE = "extra state"
    """It is something else that a module holds."""
    STATE_DICT = "state_dict"
    """It belongs to a declared object, whose own `state_dict()` leaves it out."""
    GIVE_STATE = "give state"
    """It belongs to an object that can't be saved yet."""


@dataclass(frozen=True, slots=True)
class Unsaved:
    """Something that changes while training and is in no state."""

    path: str
    kind: str
    """Its type; of a tensor, its shape as well."""
    way: Way
    line: str
    """What to add to the program."""


def described(found: Iterable[Reached], declared: Mapping[str, Any]) -> list[Unsaved]:
    """Return what is told of values that are lost, one entry for each object that holds several."""
    by_path: dict[str, Unsaved] = {}
    for each in found:
        one = _described(each, declared)
        by_path.setdefault(one.path, one)
    return list(by_path.values())


def _described(value: Reached, declared: Mapping[str, Any]) -> Unsaved:
    roots = {id(each) for each in declared.values()}
    above = [value, *value.holders()]
    below_root = [each for each in above if id(each.value) not in roots]
    can_be_saved = [
        each for each in below_root if _is_savable(each.value) and not _is_submodule(each)
    ]
    if can_be_saved:
        outermost = can_be_saved[-1]
        return _told(outermost, Way.DECLARE, _line(outermost))
    attribute = _attribute(value)
    holder = attribute.above
    if holder is None:
        return _told(attribute, Way.GIVE_STATE, "")
    if isinstance(holder.value, nn.Module):
        return _of_module(attribute, unwrap(holder.value))
    name = type(holder.value).__name__
    if id(holder.value) in roots:
        line = (
            f"return {attribute.key!r} from {name}.state_dict(), and take it in load_state_dict()"
        )
        return _told(attribute, Way.STATE_DICT, line)
    line = f"{_line(holder)}, after giving {name} state_dict() and load_state_dict()"
    return _told(attribute, Way.GIVE_STATE, line)


def _of_module(attribute: Reached, module: nn.Module) -> Unsaved:
    value, name, kind = attribute.value, attribute.key, type(module).__name__
    if name in vars(module).get("_buffers", {}):
        line = f"in {kind}: self.register_buffer({name!r}, ...), without persistent=False"
        return _told(attribute, Way.PERSISTENT, line)
    if isinstance(value, torch.Tensor):
        line = f"in {kind}: self.register_buffer({name!r}, ...)"
        return _told(attribute, Way.BUFFER, line)
    if isinstance(value, bool | int | float):
        line = f"in {kind}: self.register_buffer({name!r}, torch.tensor(...))"
        return _told(attribute, Way.BUFFER, line)
    line = f"return {name!r} from {kind}.get_extra_state(), and take it in set_extra_state()"
    return _told(attribute, Way.EXTRA_STATE, line)


def _told(value: Reached, way: Way, line: str) -> Unsaved:
    return Unsaved(value.path, _kind(value.value), way, line)


def _attribute(value: Reached) -> Reached:
    """Return the outermost of the lists, dicts and tuples that lead to a value; itself without any."""
    while value.above is not None and isinstance(value.above.value, CONTAINERS):
        value = value.above
    return value


def _is_savable(value: Any) -> bool:
    if isinstance(value, torch.Generator | np.random.Generator):
        return True
    return not isinstance(value, GENERATORS) and isinstance(value, Stateful)


def _is_submodule(value: Reached) -> bool:
    """Say whether a module is saved with the one that holds it."""
    above = value.above.value if value.above else None
    return isinstance(above, nn.Module) and value.key in vars(unwrap(above)).get("_modules", {})


def _line(value: Reached) -> str:
    key = str(value.key)
    name = key if key.isidentifier() else "part"
    return f"Run(..., {name}={value.expression})"


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    name = type(value).__name__
    return f"{name}, {len(value)} entries" if isinstance(value, CONTAINERS) else name


def message(found: Iterable[Unsaved]) -> str:
    """Return what was found, why it matters and what to do, for the log."""
    listed = list(found)
    lines = ["Changes while training, and is in no checkpoint:"]
    for each in listed[:_SHOWN]:
        lines.append(f"  {each.path} ({each.kind})")
        lines += [f"    -> {each.line}"] if each.line else []
    if len(listed) > _SHOWN:
        lines.append(f"  … and {len(listed) - _SHOWN} more, listed in history.jsonl")
    lines += ["The next start would begin with these as the program builds them: another training."]
    lines += ["Save them as shown, or set them from run.position; leave what decides no step."]
    lines += ["The training goes on."]
    return "\n".join(lines)
