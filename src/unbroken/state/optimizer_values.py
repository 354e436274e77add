"""What an optimiser keeps beside tensors and numbers, in values that the codec writes, and back.

Parameters stand under their leaf paths. An object stands as its attributes under the name of its
class, if that is a plain class of the optimiser's own package. Reading one back runs nothing that a
checkpoint names: the class must be loaded already, and neither `__new__` nor `__init__` is called.
"""

from __future__ import annotations

import random
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch

from unbroken.errors import StateMismatch
from unbroken.state.stored import Stored

PARAMETER: Final = "(parameter)"
OBJECT: Final = "(object)"
ATTRIBUTES: Final = "attributes"
GENERATOR: Final = "(generator)"
DEFAULT: Final = "(defaultdict)"
KEYED: Final = "(by parameter)"
ITEMS: Final = "items"

MAX_DEPTH: Final = 50
"""Deepest nesting of what an optimiser keeps; objects that refer to each other have no end."""

_PLAIN: Final = (bool, int, float, str, type(None), bytes, complex)
_FACTORIES: Final = {kind.__name__: kind for kind in (dict, list, int, float, set)}

Place = Callable[[str, torch.Tensor], torch.Tensor]
"""Puts a tensor, by the key that it stands under, where it belongs."""


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

    def written(self, value: Any, depth: int = 0) -> Any:  # noqa: C901  # one case per kind of value
        """Return a value as the codec takes it; what has no faithful form stays, for it to refuse."""
        kind = type(value)
        if kind in _PLAIN or depth > MAX_DEPTH:
            return value
        if isinstance(value, torch.Tensor):
            name = self._names.get(id(value))
            return value if name is None else {PARAMETER: name}
        if kind is defaultdict and _factory(value) is not None:
            return {DEFAULT: _factory(value), ITEMS: self._dict(dict, value, depth)}
        if kind in (dict, OrderedDict):
            return self._dict(kind, value, depth)
        if kind is deque:
            return deque((self.written(each, depth + 1) for each in value), value.maxlen)
        if kind in (list, tuple):
            return kind(self.written(each, depth + 1) for each in value)
        if (generator := _generator_state(value)) is not None:
            return {GENERATOR: generator}
        if self._is_plain_object(value):
            name = f"{kind.__module__}:{kind.__qualname__}"
            return {OBJECT: name, ATTRIBUTES: self._dict(dict, vars(value), depth)}
        return value

    def _dict(self, kind: Callable[[Any], Any], value: Mapping[Any, Any], depth: int) -> Any:
        pairs = [(key, self.written(each, depth + 1)) for key, each in value.items()]
        keyed = {self._names[id(key)]: each for key, each in pairs if id(key) in self._names}
        if not keyed:
            return kind(pairs)
        return {KEYED: keyed, ITEMS: kind(each for each in pairs if id(each[0]) not in self._names)}

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
            return place(key, value.read())
        if isinstance(value, torch.Tensor):
            return place(key, value.clone())
        if isinstance(value, dict):
            return self._live_dict(value, place, onto)
        if type(value) is deque:
            return deque((self.live(each, place) for each in value), value.maxlen)
        if type(value) in (list, tuple):
            return type(value)(self.live(each, place) for each in value)
        return value

    def _live_dict(self, value: dict[Any, Any], place: Place, onto: Any) -> Any:
        if value.keys() == {PARAMETER}:
            return self._parameters[value[PARAMETER]]
        if value.keys() == {GENERATOR}:
            return _generator(value[GENERATOR], onto)
        if value.keys() == {DEFAULT, ITEMS}:
            return defaultdict(_FACTORIES[value[DEFAULT]], self._live_items(value[ITEMS], place))
        if value.keys() == {KEYED, ITEMS}:
            keyed = self._live_items(value[KEYED], place)
            by_tensor = {self._parameters[name]: each for name, each in keyed.items()}
            others = value[ITEMS]
            return type(others)({**by_tensor, **self._live_items(others, place)})
        if value.keys() == {OBJECT, ATTRIBUTES}:
            made = object.__new__(self._class(value[OBJECT]))
            vars(made).update(self._live_items(value[ATTRIBUTES], place))
            return made
        return type(value)(self._live_items(value, place))

    def _live_items(self, value: Mapping[Any, Any], place: Place) -> dict[Any, Any]:
        return {
            key: self.live(each, place, key if isinstance(key, str) else "")
            for key, each in value.items()
        }

    def _is_plain_object(self, value: Any) -> bool:
        kind = type(value)
        return (
            kind.__module__.partition(".")[0] in self._packages
            and _class_of(kind.__module__, kind.__qualname__) is kind
            and _is_plain_class(kind)
        )

    def _class(self, name: str) -> type:
        module, _, qualified = name.partition(":")
        found = _class_of(module, qualified)
        is_own = module.partition(".")[0] in self._packages
        if not is_own or not isinstance(found, type) or not _is_plain_class(found):
            raise StateMismatch(
                f"The optimiser's state holds an object of the class {name}, which this program has "
                "not loaded.",
                "The object can't be made again; nothing but the optimiser's own package is looked at.",
                "Build the optimiser of the version that the run was trained with.",
            )
        return found


def _class_of(module: str, qualified: str) -> Any:
    found: Any = sys.modules.get(module)
    for name in qualified.split("."):
        found = getattr(found, name, None)
    return found


def _is_plain_class(kind: type) -> bool:
    """Say whether an object of the class is its attributes, and nothing else."""
    return (
        kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and kind.__setattr__ is object.__setattr__
        and not any("__slots__" in vars(each) for each in kind.__mro__[:-1])
        and not issubclass(kind, torch.nn.Module | torch.optim.Optimizer | type | Mapping)
        and not hasattr(kind, "__del__")
    )


def _factory(value: defaultdict[Any, Any]) -> str | None:
    return next((name for name, kind in _FACTORIES.items() if value.default_factory is kind), None)


def _generator_state(value: Any) -> Any:
    """Return the state of a random generator; None for anything else."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, random.Random):
        return value.getstate()
    return None


def _generator(state: Any, onto: Any) -> Any:
    """Set a generator to a state; a new one of the same kind where none is there."""
    if isinstance(state, dict):
        made = onto if isinstance(onto, np.random.Generator) else _numpy_generator(state)
        made.bit_generator.state = state
        return made
    if isinstance(state, tuple):
        made = onto if isinstance(onto, random.Random) else random.Random()  # noqa: S311  # no secret
        made.setstate(state)
        return made
    state = state.read() if isinstance(state, Stored) else state
    made = onto if isinstance(onto, torch.Generator) else torch.Generator()
    made.set_state(state)
    return made


def _numpy_generator(state: Mapping[str, Any]) -> np.random.Generator:
    kinds = {kind.__name__: kind for kind in (np.random.PCG64, np.random.PCG64DXSM,
        np.random.MT19937, np.random.Philox, np.random.SFC64)}  # fmt: skip
    return np.random.Generator(kinds[state["bit_generator"]]())
