"""Trained, but not declared: parameters outside of the run that its loss or its loop trains.

A leaf of the loss's graph is found at the first backward pass. It is refused if an optimizer holds it:
an input that needs a gradient for its own sake (a penalty, an adversarial example) is held by none. A
loop that goes backward by itself shows its graph to nobody; there, an optimizer that isn't declared is
known by its second update, for one that is built anew at each step (an inner loop) makes no second.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from unbroken.audit.content import tensor_content
from unbroken.audit.program_variables import program_variables
from unbroken.audit.saved import SavedState
from unbroken.audit.unsaved import Unsaved, Way
from unbroken.audit.walk import walk
from unbroken.errors import NotEncodable
from unbroken.state.parts import parameter_names
from unbroken.state.step_hooks import tell_before, tell_no_more
from unbroken.state.training_state import TrainingState

_WHY = (
    "Neither its value nor its optimizer's state would be in a checkpoint: the next start would begin "
    "with it as the program builds it. Nothing was updated with this gradient."
)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A leaf that no part has and no optimizer holds."""

    tensor: weakref.ref[torch.Tensor]
    content: str
    name: str


class Strangers:
    """Looks for what a run trains without knowing it.

    Args:
        state: What is saved.
        objects: Returns the declared objects, by part name.
    """

    def __init__(self, state: TrainingState, objects: Callable[[], Mapping[str, Any]]) -> None:
        self._state = state
        self._objects = objects
        self._has_seen_a_loss = False
        self._leaves: list[_Leaf] = []
        self._updated_at: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = (
            weakref.WeakKeyDictionary()
        )

    def listen(self) -> None:
        """Hear of every update that is made, until `close`."""
        tell_before(self)

    def close(self) -> None:
        """Hear no more."""
        tell_no_more(self)

    def before_backward(self, loss: torch.Tensor) -> None:
        """Look at the graph of the first loss.

        Raises:
            NotEncodable: A leaf that no part has is held by an optimizer.
        """
        if self._has_seen_a_loss or loss.grad_fn is None:
            return
        self._has_seen_a_loss = True
        saved = SavedState(self._state.capture())
        leaves = [each for each in graph_leaves(loss) if not saved.shares_memory(each)]
        if not leaves:
            return
        reached = {id(each.value) for each in walk(self._objects())}
        leaves = [each for each in leaves if id(each) not in reached]
        for each, optimizer in _held(leaves):
            raise _refused(_named(each), optimizer)
        self._leaves = [
            _Leaf(weakref.ref(each), tensor_content(each), _named(each)) for each in leaves
        ]

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Look at an optimizer that is about to make an update.

        Raises:
            NotEncodable: It isn't declared, nor part of something that is, and made one in an earlier step.
        """
        step = self._state.position.step
        if self._updated_at.setdefault(optimizer, step) == step or self._knows(optimizer):
            return
        first = next(p for group in optimizer.param_groups for p in group["params"])
        if (path := parameter_names(self._objects()).get(id(first))) is not None:
            raise _undeclared(path, optimizer)
        raise _refused(_named(first), optimizer)

    def _knows(self, optimizer: torch.optim.Optimizer) -> bool:
        return any(each.value is optimizer for each in walk(self._objects()))

    def changed(self) -> list[Unsaved]:
        """Return the leaves of the first loss that no optimizer held and that are others now."""
        found = []
        for each in self._leaves:
            tensor = each.tensor()
            if tensor is not None and tensor_content(tensor) != each.content:
                name = each.name.partition(".")[0]
                name = name if name.isidentifier() else "part"
                line = f"Run(..., {name}=...), an object with state_dict() and load_state_dict()"
                kind = f"{tensor.dtype} {list(tensor.shape)}"
                found.append(Unsaved(each.name, kind, Way.GIVE_STATE, line))
        return found


def graph_leaves(loss: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the tensors that a backward pass from a loss would give a gradient to."""
    seen: set[Any] = set()
    waiting: list[Any] = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, torch.Tensor):
            yield leaf
        waiting += [each for each, _ in node.next_functions]


def _held(leaves: Collection[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.optim.Optimizer]]:
    """Yield each leaf that an optimizer of this process updates, with that."""
    by_id = {id(each): each for each in leaves}
    for optimizer in _alive(torch.optim.Optimizer):
        for group in getattr(optimizer, "param_groups", ()):
            for each in group["params"]:
                if id(each) in by_id:
                    yield by_id[id(each)], optimizer


def _alive(kind: type) -> list[Any]:
    # By the type itself: isinstance would ask an object's __class__, which may be anything.
    return [each for each in gc.get_objects() if issubclass(type(each), kind)]


def _named(leaf: torch.Tensor) -> str:
    """Return a leaf's name in the outermost module that owns it, as the program calls that; or its shape."""
    owners = [
        (module, name)
        for module in _alive(nn.Module)
        for name, each in module.named_parameters()
        if each is leaf
    ]
    shape = f"{'parameter' if isinstance(leaf, nn.Parameter) else 'tensor'} of shape {tuple(leaf.shape)}"
    if not owners:
        return _variable(leaf) or f"a {shape}"
    outermost, name = max(owners, key=lambda each: len(each[1]))
    return f"{_variable(outermost) or type(outermost).__name__}.{name}"


def _variable(value: Any) -> str:
    """Return what the functions that are running call an object; empty where none names it."""
    return next((name for name, each in program_variables() if each is value), "")


def _undeclared(path: str, optimizer: torch.optim.Optimizer) -> NotEncodable:
    mine = _variable(optimizer) or "an optimizer"
    return NotEncodable(
        f"{path} is trained by an optimizer that is not declared: {mine} ({type(optimizer).__name__}).",
        "Its moments would be in no checkpoint, and its update comes beside that of the run's own.",
        "Build it before Run(...) and declare it; build none anew after run.resume().",
    )


def _refused(name: str, optimizer: torch.optim.Optimizer) -> NotEncodable:
    mine = _variable(optimizer) or "its optimizer"
    return NotEncodable(
        f"{name} belongs to no part of the run, and is trained: {mine} ({type(optimizer).__name__}) "
        "holds it.",
        _WHY,
        "Declare both to Run(...), with a dict where there are several: model={...}, optimizer={...}; "
        "or freeze what is not to be trained with requires_grad_(False).",
    )
