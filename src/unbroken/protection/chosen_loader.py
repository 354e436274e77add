"""Which of the loaders that were found is the one that the loop trains on."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from unbroken.protection import refusals
from unbroken.protection.carried import expressions_in
from unbroken.protection.found import Found
from unbroken.protection.rewritten import Source


def chosen_loader(
    found: list[Found], variables: Mapping[str, Any], source: Source, data: str
) -> Found | None:
    """Return the loader; None where there is none, and the loop draws its own batches.

    It is the one that was named, the only one, the first that the loop mentions where it goes backward or,
    failing that, at all, or the only one with `train` in its name. What the loop does is compared with that
    while it runs.

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
    loop = source.loop
    everything = [one for each in (loop.iter, *loop.body) for one in expressions_in(each)]
    for expressions in (source.trains_on, everything):
        if (mentioned := _mentioned(found, variables, expressions)) is not None:
            return mentioned
    training = [each for each in found if "train" in each.expression.lower()]
    if len(training) != 1:
        raise refusals.no_loader("", names)
    return training[0]


def require_no_iterator(iterated: Iterable[str], variables: Mapping[str, Any]) -> None:
    """Refuse a loop that goes on with an iterator that was made before it.

    Args:
        iterated: What the loop takes the next value of, or goes through.
        variables: When it begins.

    Raises:
        RunMisused: It does.
    """
    for expression in sorted(iterated):
        value = resolved(expression, variables)
        if isinstance(value, Iterator) and not isinstance(value, io.IOBase):
            raise refusals.kept_iterator(expression)


def is_over(loop: ast.For, loader: Found, variables: Mapping[str, Any]) -> bool:
    """Say whether the rounds of a loop are the loader's batches themselves."""
    return _mentioned([loader], variables, expressions_in(loop.iter)) is not None


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
    found: list[Found], variables: Mapping[str, Any], expressions: Iterable[str]
) -> Found | None:
    by_identity = {id(each.value): each for each in found}
    for expression in expressions:
        if (each := by_identity.get(id(resolved(expression, variables)))) is not None:
            return each
    return None
