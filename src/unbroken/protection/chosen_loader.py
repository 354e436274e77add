"""Which of the loaders that were found is the one that the loop trains on."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from torch.utils.data.dataloader import _BaseDataLoaderIter

from unbroken.protection import refusals
from unbroken.protection.carried import expressions_in
from unbroken.protection.found import Found


def chosen_loader(
    found: list[Found], variables: Mapping[str, Any], loop: ast.For, data: str
) -> Found | None:
    """Return the loader; None where there is none, and the loop draws its own batches.

    It is the one that was named, the only one, the first that the loop mentions, or the only one with
    `train` in its name. What the loop does is compared with that while it runs.

    Raises:
        SettingsInvalid: The named one isn't there, or nothing tells which it is.
    """
    names = [each.expression for each in found]
    if data:
        named = next((each for each in found if each.expression == data), None)
        named = named or _looped_over(data, variables)
        if named is None:
            raise refusals.no_loader(data, names)
        return named
    if len(found) < 2:
        return found[0] if found else None
    mentioned = _mentioned(found, variables, [loop.iter, *loop.body])
    if mentioned is not None:
        return mentioned
    training = [each for each in found if "train" in each.expression.lower()]
    if len(training) != 1:
        raise refusals.no_loader("", names)
    return training[0]


def require_no_iterator(loop: ast.For, variables: Mapping[str, Any]) -> None:
    """Refuse a loop that goes on with an iterator over a loader that was made before it.

    Raises:
        RunMisused: It does.
    """
    for expression in expressions_in(loop):
        if isinstance(resolved(expression, variables), _BaseDataLoaderIter):
            raise refusals.kept_iterator(expression)


def is_over(loop: ast.For, loader: Found, variables: Mapping[str, Any]) -> bool:
    """Say whether the rounds of a loop are the loader's batches themselves."""
    return _mentioned([loader], variables, [loop.iter]) is not None


def resolved(expression: str, variables: Mapping[str, Any]) -> Any:
    """Return what a name, or attributes of one, stands for; None where it isn't known.

    No property is called.
    """
    first, *attributes = expression.split(".")
    value = variables.get(first)
    for name in attributes:
        value = getattr(value, "__dict__", {}).get(name)
    return value


def _looped_over(expression: str, variables: Mapping[str, Any]) -> Found | None:
    value = resolved(expression, variables)
    # Its class gets another `__iter__`, which only one written in Python can.
    can_change = bool(type(value).__flags__ & _HEAP_TYPE) and hasattr(value, "__iter__")
    return Found(expression, value) if can_change else None


_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a `class` statement


def _mentioned(
    found: list[Found], variables: Mapping[str, Any], nodes: Iterable[ast.AST]
) -> Found | None:
    by_identity = {id(each.value): each for each in found}
    for node in nodes:
        for expression in expressions_in(node):
            if (each := by_identity.get(id(resolved(expression, variables)))) is not None:
                return each
    return None
