"""What a start begins with anew: plain variables that the loop carries on, and the program's own objects."""

from __future__ import annotations

import ast
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from unbroken.audit.changes import changed
from unbroken.audit.look import Look, look
from unbroken.audit.saved import SavedState
from unbroken.audit.unsaved import described
from unbroken.protection.carried import carried
from unbroken.protection.chosen_loader import resolved
from unbroken.protection.found import FoundObjects
from unbroken.state.training_state import TrainingState

_log = logging.getLogger("unbroken")


@dataclass(frozen=True, slots=True)
class Anew:
    """A variable that no checkpoint has."""

    expression: str
    kind: str
    """What it holds."""
    is_inside: bool
    """Whether only an epoch that is resumed in its middle begins with it anew."""

    @property
    def can_be_kept(self) -> bool:
        """Whether `unbroken.Values` can hold it."""
        return self.kind in ("bool", "int", "float", "str", "list", "dict", "NoneType", "Tensor")


def begun_anew(loop: ast.For, variables: Mapping[str, Any], found: FoundObjects) -> list[Anew]:
    """Return what the loop carries from round to round, and no part saves.

    Args:
        loop: As it was written.
        variables: When it begins.
        found: What is saved.
    """
    saved = [each.value for each in (*found.saved(), *found.loaders)]
    told: list[Anew] = []
    for expression, is_inside in sorted(carried(loop).items(), key=lambda each: each[1]):
        holders = list(_holders(expression, variables))
        if any(one is each for one in holders for each in saved):
            continue
        first = expression.partition(".")[0]
        if first not in variables and not is_inside:
            continue  # the first round makes it
        value = resolved(expression, variables)
        is_bound = value is not None or expression in variables
        told.append(Anew(expression, _kind(value) if is_bound else "number", is_inside))
    for name, value in variables.items():
        if hasattr(value, "__next__") and not isinstance(value, io.IOBase):
            told.append(Anew(name, "iterator", is_inside=False))
    return told


class ChangedInPlain:
    """Looks at objects of the program that can't be saved, before the first round and after it.

    Args:
        found: What was found.
        state: What is saved.
    """

    def __init__(self, found: FoundObjects, state: TrainingState) -> None:
        self._state = state
        self._roots = {
            each.expression: each.value for each in found.plain if "." not in each.expression
        }
        self._known = [each.value for each in (*found.saved(), *found.loaders)]
        self._before: Look | None = self._look(None) if self._roots else None

    def after_round(self) -> None:
        """Tell, once, what the first round has changed."""
        before, self._before = self._before, None
        if before is None:
            return
        found = described(changed([before, self._look(before)], is_later=True), self._roots)
        if found:
            listed = ", ".join(f"{each.path} ({each.kind})" for each in found)
            _log.warning(
                "[Protect] Changed in this round, and in no checkpoint: %s. A start begins with it as "
                "the program builds it; give its object state_dict() and load_state_dict().",
                listed,
            )

    def _look(self, before: Look | None) -> Look:
        return look(self._roots, SavedState(self._state.capture()), before, self._known)


def _holders(expression: str, variables: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what an expression stands for, and what each part of it before does."""
    names = expression.split(".")
    for length in range(len(names), 0, -1):
        yield resolved(".".join(names[:length]), variables)


def _kind(value: Any) -> str:
    if isinstance(value, io.IOBase):
        return "open file"
    return "Tensor" if isinstance(value, torch.Tensor) else type(value).__name__
