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
from unbroken.state.foreign import while_loading, while_saving
from unbroken.state.generators import GeneratorPart, is_generator
from unbroken.state.modules import ModulePart
from unbroken.state.optimizers import OptimizerPart, is_optimizer
from unbroken.state.stored import holds_tensors
from unbroken.tree import uncompiled, unwrap


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
        """Take a saved state in whose structure was found to fit."""
        ...


class PlainPart:
    """A part that is any object with `state_dict` and `load_state_dict`: schedule, scaler, EMA."""

    def __init__(self, name: str, target: Stateful) -> None:
        self.name = name
        self.target = target
        self._born = set(self.capture())

    def capture(self) -> dict[str, Any]:
        """Return the object's own state.

        Raises:
            NotEncodable: Its `state_dict()` failed, or gave no dict.
        """
        with while_saving(self.name):
            found = self.target.state_dict()
            if not isinstance(found, Mapping):
                raise TypeError(f"it gave a {type(found).__name__}, not a dict")
        return found

    def differences(self, saved: Any) -> list[str]:
        """Compare the names at the top; what came while training, and what is below, is the object's."""
        if not isinstance(saved, Mapping):
            return [f"{self.name}: saved state is a {type(saved).__name__}, not a dict"]
        live = set(self.capture())
        found = name_differences(self.name, set(saved), live) if live - set(saved) else []
        if not found and isinstance(self.target, Comparing):
            found = [f"{self.name}: {each}" for each in self.target.differences(saved)]
        return found

    def unsaved_states(self) -> list[str]:
        """Return what the object keeps where its own state is empty."""
        kept = getattr(self.target, "__dict__", {})
        return [] if self.capture() else [n for n, each in kept.items() if holds_tensors(each)]

    def refusals(self, captured: Any) -> list[str]:
        """Say what of a state the object would refuse as it was when the run was set up."""
        return missing_names(self.name, set(captured), self._born)

    def restore(self, saved: Any) -> None:
        """Give the object a copy of the saved state: some take theirs apart while loading it.

        Raises:
            StateMismatch: Its `load_state_dict()` failed.
        """
        tensors: dict[str, torch.Tensor] = {}
        form = encode(saved, self.name, tensors)
        with while_loading(self.name):
            self.target.load_state_dict(decode(form, tensors))


def name_differences(path: str, saved: set[str], live: set[str]) -> list[str]:
    """Say which names are missing in the saved state and which are surplus."""
    surplus = sorted(saved - live, key=str)
    return [
        *missing_names(path, saved, live),
        *(f"{path}.{name}: surplus in the checkpoint" for name in surplus),
    ]


def missing_names(path: str, saved: set[str], live: set[str]) -> list[str]:
    """Say which names are missing in the saved state."""
    return [f"{path}.{name}: missing in the checkpoint" for name in sorted(live - saved, key=str)]


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
        elif is_generator(each):
            parts[name] = GeneratorPart(name, each)
        else:
            raise NotEncodable(
                f"The part {name!r} is a {type(each).__name__} without state_dict().",
                "What can't be saved is lost at the first stop.",
                "Give it state_dict() and load_state_dict(), or leave it out on purpose.",
            )
    return parts


def refusals(parts: Mapping[str, Part], captured: Mapping[str, Any]) -> list[str]:
    """Say what of a captured state the parts would refuse as they were when the run was set up."""
    return [
        each
        for name, part in parts.items()
        if isinstance(part, ModulePart | OptimizerPart | PlainPart)
        for each in part.refusals(captured[name])
    ]


def require_saved(parts: Mapping[str, Part], trained: Mapping[str, torch.Tensor]) -> None:
    """Refuse what would train and be in no checkpoint.

    Args:
        parts: The live parts.
        trained: Parameters that an optimiser updates, by leaf path.

    Raises:
        NotEncodable: A parameter is in no module's own state, or a part has state and saves none.
    """
    for name, part in parts.items():
        if isinstance(part, ModulePart):
            _require_parameters(part, name, trained)
        if isinstance(part, ModulePart | PlainPart):
            _require_any_state(part, name)


def _require_parameters(part: ModulePart, name: str, trained: Mapping[str, torch.Tensor]) -> None:
    own = {
        path.removeprefix(f"{name}."): each
        for path, each in trained.items()
        if path.startswith(f"{name}.")
    }
    if missing := part.unsaved(own):
        listed = ", ".join(f"{name}.{each}" for each in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise NotEncodable(
            f"{listed}{more}: an optimiser updates it, but the module's state_dict() does not have it.",
            "It would be trained, and be in no checkpoint: a resume would begin it anew.",
            "Correct the state_dict(), or the hook that takes it out; or freeze what is not to be "
            "trained and leave it out of the optimiser.",
        )


def _require_any_state(part: ModulePart | PlainPart, name: str) -> None:
    if lost := part.unsaved_states():
        raise NotEncodable(
            f"The part {name!r} saves nothing, but it keeps {', '.join(lost[:5])}.",
            "What it has gathered would be lost at the first stop.",
            f"Call {name}.persistent(True) before Run(...) where it is a metric; otherwise have its "
            "state_dict() return them (as registered buffers of a module), or leave the part out.",
        )


def declared_parameters(declared: Mapping[str, Any]) -> dict[str, nn.Parameter]:
    """Return every parameter of the declared modules by its leaf path, each under its first one."""
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for part, each in declared.items():
        if isinstance(each, nn.Module):
            for name, parameter in unwrap(each).named_parameters():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    found[f"{part}.{uncompiled(name)}"] = parameter
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


def by_role(**given: Any) -> dict[str, Any]:
    """Return objects by part name, as `named`; a name that an earlier role has gets the role's before it.

    So the optimisers of `{"g": ..., "d": ...}` may be named as their models are.

    Raises:
        NotEncodable: That name is taken too.
    """
    parts: dict[str, Any] = {}
    for role, each in given.items():
        new = {
            f"{role}_{name}" if name in parts else name: one
            for name, one in named(**{role: each}).items()
        }
        parts = named(earlier=parts, **{role: new})
    return parts


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
