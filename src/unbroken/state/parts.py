"""Parts: the named pieces of state that decide a step's bits, captured and restored strictly.

Whatever is declared to `Run(...)` becomes a part. Each part gives its state as nested values whose
tensors are the live ones, says how a saved state differs in structure, and takes a saved state in.
Structures of all parts are compared before any part is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from unbroken.errors import NotEncodable, StateMismatch
from unbroken.state.codec import decode, encode
from unbroken.state.modules import ModulePart
from unbroken.state.optimizers import OptimizerPart, is_optimizer
from unbroken.tree import unwrap


@runtime_checkable
class Stateful(Protocol):
    """PyTorch's protocol of things that can be saved."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take the state in."""
        ...


@runtime_checkable
class Comparing(Protocol):
    """A thing that can be saved and knows, before anything is touched, what it would refuse."""

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """Say how a saved state does not fit, a sentence a difference."""
        ...


class Part(Protocol):
    """A piece of state as the tree of parts sees it."""

    def capture(self) -> dict[str, Any]:
        """Return the state; its tensors are the live ones, not copies."""
        ...

    def differences(self, saved: Any) -> list[str]:
        """Say how a saved state differs in structure from the live one, a sentence a difference."""
        ...

    def restore(self, saved: Any) -> None:
        """Take a saved state in whose structure was found equal."""
        ...


class PlainPart:
    """A part that is any object with `state_dict` and `load_state_dict`: schedule, scaler, EMA."""

    def __init__(self, name: str, target: Stateful) -> None:
        self.name = name
        self.target = target

    def capture(self) -> dict[str, Any]:
        """Return the object's own state."""
        return self.target.state_dict()

    def differences(self, saved: Any) -> list[str]:
        """Compare the names at the top; what is below belongs to the object."""
        live = self.target.state_dict()
        if not isinstance(saved, Mapping):
            return [f"{self.name}: saved state is a {type(saved).__name__}, not a dict"]
        found = name_differences(self.name, set(saved), set(live))
        if not found and isinstance(self.target, Comparing):
            found = [f"{self.name}: {each}" for each in self.target.differences(saved)]
        return found

    def restore(self, saved: Any) -> None:
        """Give the object a copy of the saved state: some take theirs apart while loading it."""
        tensors: dict[str, torch.Tensor] = {}
        form = encode(saved, self.name, tensors)
        self.target.load_state_dict(decode(form, tensors))


def name_differences(path: str, saved: set[str], live: set[str]) -> list[str]:
    """Say which names are missing in the saved state and which are surplus."""
    return [
        f"{path}.{name}: missing in the checkpoint" for name in sorted(live - saved, key=str)
    ] + [f"{path}.{name}: surplus in the checkpoint" for name in sorted(saved - live, key=str)]


def make_parts(declared: Mapping[str, Any]) -> dict[str, Part]:
    """Wrap the declared objects, models first, so that optimisers can name their parameters.

    Raises:
        NotEncodable: An object has no `state_dict`, or its name can't be a part's.
    """
    parameters = declared_parameters(declared)
    parts: dict[str, Part] = {}
    for name, each in declared.items():
        if not (name.isidentifier() and name.isascii()):
            raise NotEncodable(
                f"A part is named {name!r}.",
                "Parts give checkpoint files their names.",
                "Use a Python identifier of ASCII letters.",
            )
        if isinstance(each, nn.Module):
            parts[name] = ModulePart(name, unwrap(each))
        elif is_optimizer(each):
            parts[name] = OptimizerPart(name, each, parameters)
        elif isinstance(each, Stateful):
            parts[name] = PlainPart(name, each)
        else:
            raise NotEncodable(
                f"The part {name!r} is a {type(each).__name__} without state_dict().",
                "What can't be saved is lost at the first stop.",
                "Give it state_dict() and load_state_dict(), or leave it out on purpose.",
            )
    return parts


def declared_parameters(declared: Mapping[str, Any]) -> dict[str, nn.Parameter]:
    """Return every parameter of the declared modules by its leaf path, each under its first one."""
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for part, each in declared.items():
        if isinstance(each, nn.Module):
            for name, parameter in unwrap(each).named_parameters():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    found[f"{part}.{name}"] = parameter
    return found


def parameter_names(declared: Mapping[str, Any]) -> dict[int, str]:
    """Return the leaf path of every parameter of the declared modules by its identity."""
    return {id(each): path for path, each in declared_parameters(declared).items()}


def require_same_structure(
    parts: Mapping[str, Part], saved: Mapping[str, Any], also: Sequence[str] = ()
) -> None:
    """Compare the structure of all parts before any is touched.

    Args:
        parts: The live parts.
        saved: Their saved states.
        also: Further differences that were found elsewhere.

    Raises:
        StateMismatch: Parts or leaves are missing, surplus, or of another shape or dtype.
    """
    found = [*also, *name_differences("run", set(saved), set(parts))]
    for name, part in parts.items():
        if name in saved:
            found.extend(part.differences(saved[name]))
    if found:
        shown = "\n".join(f"  {each}" for each in found[:20])
        more = f"\n  … and {len(found) - 20} more" if len(found) > 20 else ""
        raise StateMismatch(
            f"The checkpoint does not fit the objects of this run:\n{shown}{more}",
            "With a state that fits only in part another run would continue; nothing was changed.",
            "Build the model, optimiser and parts as they were, or begin a new run from the weights.",
        )


def restore_parts(parts: Mapping[str, Part], saved: Mapping[str, Any]) -> None:
    """Put a saved state into the live objects, after all structures were found equal."""
    require_same_structure(parts, saved)
    for name, part in parts.items():
        part.restore(saved[name])


def named(**given: Any) -> dict[str, Any]:
    """Return objects by part name: a dict as it is, one object under its name, None as nothing.

    Raises:
        NotEncodable: Two of them have the same name.
    """
    parts: dict[str, Any] = {}
    for name, each in given.items():
        new = {} if each is None else each if isinstance(each, dict) else {name: each}
        for twice in sorted(parts.keys() & new.keys()):
            raise NotEncodable(
                f"Two parts are named {twice!r}; one of them is among {name}.",
                "Only one of them would be saved and restored.",
                "Give each model, optimiser, schedule and other part a name of its own.",
            )
        parts |= new
    return parts
