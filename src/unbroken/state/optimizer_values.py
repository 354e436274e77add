"""What an optimiser keeps beside tensors and numbers, in values that the codec writes, and back.

Parameters stand under their leaf paths. An object stands as its attributes under the name of its
class, if that is a plain class of the optimiser's own package. Reading one back runs nothing that a
checkpoint names: the class must be loaded already, and neither `__new__` nor `__init__` is called.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import torch

from unbroken.errors import StateMismatch
from unbroken.state.generators import (
    generator_state,
    is_generator,
    kind_of,
    set_generator_state,
)
from unbroken.state.stored import Stored, in_memory

PARAMETER: Final = "(parameter)"
OBJECT: Final = "(object)"
ATTRIBUTES: Final = "attributes"
KEYED: Final = "(by parameter)"
BY_IDENTITY: Final = "(by identity)"
STRIDED: Final = "(strided)"
ITEMS: Final = "items"

MAX_DEPTH: Final = 50
"""Deepest nesting of what an optimiser keeps; objects that refer to each other have no end."""

_PLAIN: Final = (bool, int, float, str, type(None), bytes, complex)

Place = Callable[[str, torch.Tensor, str | None], torch.Tensor]
"""Puts a tensor where it belongs, by the key that it stands under and where it lay, if that is known."""


class OptimizerValues:
    """Turns the values of one optimiser into what the codec writes, and back.

    Args:
        optimizer: Whose values they are.
        names: The leaf path of each parameter by its identity.
        parameters: The parameters by leaf path.
    """

    def __init__(
        self, optimizer: Any, names: Mapping[int, str], parameters: Mapping[str, torch.Tensor]
    ) -> None:
        self._names = names
        self._parameters = parameters
        packages = {kind.__module__.partition(".")[0] for kind in type(optimizer).__mro__}
        self._packages = packages - {"torch", "builtins", "abc", "typing"}

    def written(
        self, value: Any, depth: int = 0, like: Any = None
    ) -> Any:  # one case per kind of value
        """Return a value as the codec takes it; what has no faithful form stays, for it to refuse.

        Args:
            value: What the optimiser keeps.
            depth: How deep it lies.
            like: The parameter that it is kept for; None for none.
        """
        kind = type(value)
        if kind in _PLAIN or depth > MAX_DEPTH:
            return value
        if isinstance(value, torch.Tensor):
            name = self._names.get(id(value))
            if name is not None:
                return {PARAMETER: name}
            if lies_as_expected(value, like):
                return value
            return {STRIDED: value, "stride": list(value.stride())}
        if kind is defaultdict:
            return self._dict(partial(defaultdict, value.default_factory), value, depth, like)
        if kind in (dict, OrderedDict):
            return self._dict(kind, value, depth, like)
        if kind is deque:
            return deque((self.written(each, depth + 1, like) for each in value), value.maxlen)
        if kind in (list, tuple):
            return kind(self.written(each, depth + 1, like) for each in value)
        if self._is_own(kind) and _is_plain_class(kind):
            return {
                OBJECT: f"{kind.__module__}:{kind.__qualname__}",
                ATTRIBUTES: self._dict(dict, vars(value), depth, like),
            }
        return value

    def _dict(
        self, kind: Callable[[Any], Any], value: Mapping[Any, Any], depth: int, like: Any
    ) -> Any:
        """Write a dict; keys that are parameters, or their identities, become leaf paths."""
        keyed: dict[str, dict[str, Any]] = {KEYED: {}, BY_IDENTITY: {}}
        others = []
        for key, each in value.items():
            form = self.written(each, depth + 1, like)
            if isinstance(key, torch.Tensor) and id(key) in self._names:
                keyed[KEYED][self._names[id(key)]] = form
            elif type(key) is int and key in self._names:
                keyed[BY_IDENTITY][self._names[key]] = form
            else:
                others.append((key, form))
        return {**keyed, ITEMS: kind(others)} if any(keyed.values()) else kind(others)

    def live(self, value: Any, place: Place, key: str = "", onto: Any = None) -> Any:
        """Return a written value as the optimiser keeps it.

        Args:
            value: What `written` returned, read back; its tensors may be stored.
            place: Puts each tensor where it belongs.
            key: The key that it stands under.
            onto: What stands there now; a generator goes on as the same object.

        Raises:
            StateMismatch: It names a class that this program has not loaded.
        """
        if isinstance(value, Stored):
            return place(key, value.read(), value.device)
        if isinstance(value, torch.Tensor):
            return place(key, value.clone(), None)
        if is_generator(value):
            return _going_on(value, onto)
        if isinstance(value, dict):
            return self._live_dict(value, place)
        if type(value) is deque:
            return deque((self.live(each, place) for each in value), value.maxlen)
        if type(value) in (list, tuple):
            return type(value)(self.live(each, place) for each in value)
        return value

    def _live_dict(self, value: dict[Any, Any], place: Place) -> Any:
        if value.keys() == {PARAMETER}:
            return self._parameters[value[PARAMETER]]
        if value.keys() == {STRIDED, "stride"}:
            saved = value[STRIDED]
            tensor = _laid(in_memory(saved), value["stride"])
            return place("", tensor, saved.device if isinstance(saved, Stored) else None)
        if value.keys() == {KEYED, BY_IDENTITY, ITEMS}:
            keyed = self._live_items(value[KEYED], place)
            by_identity = self._live_items(value[BY_IDENTITY], place)
            return _like(
                value[ITEMS],
                {
                    **{self._parameters[name]: each for name, each in keyed.items()},
                    **{id(self._parameters[name]): each for name, each in by_identity.items()},
                    **self._live_items(value[ITEMS], place),
                },
            )
        if value.keys() == {OBJECT, ATTRIBUTES}:
            made: Any = object.__new__(self._class(value[OBJECT]))
            vars(made).update(self._live_items(value[ATTRIBUTES], place))
            return made
        return _like(value, self._live_items(value, place))

    def _live_items(self, value: Mapping[Any, Any], place: Place) -> dict[Any, Any]:
        return {
            key: self.live(each, place, key if isinstance(key, str) else "")
            for key, each in value.items()
        }

    def _is_own(self, kind: type) -> bool:
        """Say whether a class is one of the optimiser's package that can be found by its name."""
        is_near = kind.__module__.partition(".")[0] in self._packages
        return is_near and _class_of(kind.__module__, kind.__qualname__) is kind

    def _class(self, name: str) -> type:
        found = _class_of(*name.split(":", 1)) if ":" in name else None
        if not isinstance(found, type) or not self._is_own(found) or not _is_plain_class(found):
            raise StateMismatch(
                f"The optimiser's state holds an object of the class {name}, which this program has "
                "not loaded.",
                "The object can't be made again; nothing but the optimiser's own package is looked at.",
                "Build the optimiser of the version that the run was trained with.",
            )
        return found


def _like(form: dict[Any, Any], items: dict[Any, Any]) -> Any:
    """Return items in a dict of the kind of another."""
    if isinstance(form, defaultdict):
        return defaultdict(form.default_factory, items)
    return type(form)(items)


def lies_as_expected(value: torch.Tensor, parameter: torch.Tensor | None) -> bool:
    """Say whether a tensor lies row by row in memory, or as the parameter of its shape does.

    Products take another way through a matrix that lies otherwise, as an eigenvector matrix does, and
    round otherwise.
    """
    if parameter is not None and value.shape == parameter.shape and _is_dense(parameter):
        return value.stride() == parameter.stride() or value.numel() < 2
    return value.layout is not torch.strided or value.is_contiguous() or not _is_dense(value)


def laid_like(value: torch.Tensor, parameter: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device; one of the parameter's shape lies in memory as that does."""
    if value.shape == parameter.shape and not parameter.is_contiguous() and _is_dense(parameter):
        return _laid(value.to(device), parameter.stride())
    return value.to(device)


def _is_dense(tensor: torch.Tensor) -> bool:
    """Say whether the entries fill their memory, each once, in whatever order of the dimensions."""
    if tensor.layout is not torch.strided:
        return False
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def _laid(tensor: torch.Tensor, stride: Sequence[int]) -> torch.Tensor:
    made = torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype, device=tensor.device)
    return made.copy_(tensor)


def _class_of(module: str, qualified: str) -> Any:
    found: Any = sys.modules.get(module)
    for name in qualified.split("."):
        found = getattr(found, name, None)
    return found


def _is_plain_class(kind: type) -> bool:
    """Say whether an object of the class is its attributes, and nothing else."""
    return (
        all(
            getattr(kind, name) is getattr(object, name)
            for name in ("__reduce_ex__", "__reduce__", "__setattr__")
        )
        and not any("__slots__" in vars(each) for each in kind.__mro__[:-1])
        and not issubclass(kind, torch.nn.Module | torch.optim.Optimizer | type | Mapping)
        and not hasattr(kind, "__del__")
    )


def _going_on(generator: Any, onto: Any) -> Any:
    """Let a generator that is there go on as a saved one; return that one where none is there."""
    state = generator_state(generator)
    if not is_generator(onto) or kind_of(generator_state(onto)) != kind_of(state):
        return generator
    set_generator_state(onto, state)
    return onto
