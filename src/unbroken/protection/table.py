"""The table that a protected function prints: what was found, what is saved, and what begins anew."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from torch import nn

from unbroken.counts import counted
from unbroken.protection.begun_anew import Anew
from unbroken.protection.found import Found, FoundObjects
from unbroken.protection.rewritten import Source
from unbroken.state.values import Values

_MOST: Final = 20
"""Rows of a kind that are shown."""


def table(
    source: Source,
    directory: Path | str,
    found: FoundObjects,
    loader: Found | None,
    anew: Sequence[Anew],
) -> str:
    """Return it.

    Args:
        source: The loop.
        directory: Of the run.
        found: What is saved.
        loader: Whose batches the loop trains on; None where it draws its own.
        anew: What is not saved.
    """
    loop = source.loop
    written = f"for {ast.unparse(loop.target)} in {source.is_over}"
    saved = [(each.expression, _what(each.value)) for each in found.saved()]
    data = (
        [
            (
                loader.expression,
                f"{_what(loader.value)}: its order, its place, and each sample's draws",
            )
        ]
        if loader
        else [("no loader", "each round is a step, and draws its own batch")]
    )
    lines = [
        f"[Protect] {Path(source.file).name}, line {loop.lineno}: {written}",
        "  found and saved, and compared at each start",
        *_rows([*data, *saved]),
    ]
    if anew:
        lines += ["  found and not saved: begins at each start as the program builds it"]
        lines += _rows([(each.expression, each.what) for each in anew])
        lines += _kept(anew, _values_of(found))
    lines += ["  the same, written by hand", f"    {_by_hand(directory, found, loader)}"]
    return "\n".join(lines)


def _rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = min(28, max(len(name) for name, _ in rows))
    shown = [f"    {name:<{width}}  {what}" for name, what in rows[:_MOST]]
    return shown if len(rows) <= _MOST else [*shown, f"    … and {len(rows) - _MOST} more"]


def _what(value: Any) -> str:
    kind = type(value).__name__
    if isinstance(value, nn.Module):
        tensors = [*value.parameters(), *value.buffers()]
        return f"{kind}, {counted(len(tensors), 'tensor')}, {_size(tensors)}"
    return kind


def _size(tensors: Iterable[Any]) -> str:
    size = float(sum(each.numel() * each.element_size() for each in tensors))
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _values_of(found: FoundObjects) -> str:
    """Return how the program calls the plain values that are saved already; empty where none are."""
    return next((each.expression for each in found.parts if isinstance(each.value, Values)), "")


def _kept(anew: Sequence[Anew], values: str) -> list[str]:
    """Return the line that saves what decides the training, such as a best score.

    Args:
        anew: What is not saved.
        values: The plain values that are; empty for none.
    """
    names = [each.expression for each in anew if each.can_be_kept]
    if not names:
        return []
    given = ", ".join(f"{each.rpartition('.')[2]}={each}" for each in names)
    if values:
        return [
            f"    to save them, in this run too: give {values} = unbroken.Values({given}, ...), and use them there"
        ]
    return [
        f"    to save them, from a new run on: values = unbroken.Values({given}); use values.{_last(names[0])} in the loop"
    ]


def _last(expression: str) -> str:
    return expression.rpartition(".")[2]


def _by_hand(directory: Path | str, found: FoundObjects, loader: Found | None) -> str:
    roles = {"model": found.models, "optimizer": found.optimizers, "scaler": found.scalers}
    given = [f"data={loader.expression}"] if loader else []
    for role, several in roles.items():
        if len(several) == 1:
            given.append(f"{role}={several[0].expression}")
        elif several:
            entries = ", ".join(f'"{each.name}": {each.expression}' for each in several)
            given.append(f"{role}={{{entries}}}")
    given += [f"{each.name}={each.expression}" for each in found.parts]
    return f'run = unbroken.Run("{directory}", {", ".join(given)})'
