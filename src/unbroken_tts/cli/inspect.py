"""The command `unbroken-tts inspect`: what a file of weights or a run contains."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unbroken_tts.cli.main import Parser
    from unbroken_tts.inspection import Count, Inspection

DESCRIPTION: Final = """\
Show what a file of weights, a training checkpoint or a run contains: family and version, the form it
was saved in, vocabulary, precision, what is trained, carried along and frozen, where a training stood,
whether all values are finite, and the memory that training it needs. No configuration is needed.

  unbroken-tts inspect checkpoints/gpt.pth
  unbroken-tts inspect training_output --json"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what a file of weights or a run contains",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "path",
        metavar="PATH",
        type=Path,
        help="a file of weights, a run, one of its checkpoints, or a folder with a gpt.pth",
    )
    add("--weights-entry", metavar="NAME", help="which weights to show where a file has several")
    add("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Inspect and print; return the exit code."""
    from unbroken_tts.inspection import inspect_path

    found = inspect_path(arguments.path, entry=arguments.weights_entry)
    if arguments.json:
        print(json.dumps(asdict(found), ensure_ascii=False))
        return 0
    for name, text in _lines(found):
        print(f"{name + ':':<13} {text}")
    return 0


def _lines(found: Inspection) -> Iterator[tuple[str, str]]:
    from unbroken_tts.model.sorted_tensors import shown

    yield "File", f"{found.path} ({found.kind}, {_size(found.size)})"
    yield (
        "Family",
        found.family + ("" if found.is_supported else " (this program can't train it as it is)"),
    )
    for fault in found.faults:
        yield "Fault", fault
    if found.entry:
        yield "Form", "; ".join(_form(found))
    for why, names in found.left_out.items():
        yield "Left out", f"{len(names)}, {why}: {shown(names)}"
    if found.vocabulary is not None:
        yield "Vocabulary", f"{found.vocabulary} text pieces, {found.mel_codes} mel codes"
    yield "Precision", ", ".join(f"{kind} ({count})" for kind, count in found.precision.items())
    yield from _trained(found)
    if found.position:
        yield "Position", ", ".join(f"{name} {value}" for name, value in found.position.items())
    for name, value in found.facts.items():
        text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        yield name.replace("_", " ").capitalize(), text
    yield "Finite", _finite(found.not_finite)
    for precision, needs in found.memory.items():
        at = {place: _size(count) for place, count in needs.items()}
        on_card = f"{at['card']} on a card and {at['main_memory']} beside it"
        yield f"Memory {precision}", f"{on_card}, or {at['processor']} on a processor"


def _trained(found: Inspection) -> Iterator[tuple[str, str]]:
    if not found.trained.tensors:
        return
    if found.trained_part:
        yield "Layers", found.trained_part
    yield "Trained", _count(found.trained)
    if found.adapters.tensors:
        yield "Adapters", f"{_count(found.adapters)}, of what is trained"
    yield "Carried", _count(found.carried) + " (encoders)"
    yield "Frozen", _frozen(found)


def _form(found: Inspection) -> Iterator[str]:
    yield "a plain state_dict" if found.entry == "." else f"state_dict under {found.entry}"
    for prefix, count in found.removed.items():
        yield f"{prefix} removed from {count} names"
    if found.adapter:
        yield f"not merged: {found.adapter}"


def _frozen(found: Inspection) -> str:
    if found.frozen_rows is None:
        return "not recorded in a file"
    if not found.frozen.tensors:
        return "none"
    rows = f"{found.frozen_rows} text rows" if found.frozen_rows else ""
    layers = "all other layers" if found.trained_part else ""
    return f"{' and '.join(filter(None, [rows, layers]))}, {_count(found.frozen)}"


def _finite(bad: dict[str, int]) -> str:
    if not bad:
        return "all values"
    from unbroken_tts.model.sorted_tensors import shown

    names = [f"{name} ({count} values)" for name, count in bad.items()]
    return f"NO, in {len(bad)} tensors: {shown(names)}"


def _count(count: Count) -> str:
    return f"{count.tensors} tensors, {count.numbers:,} numbers, {_size(count.bytes)}"


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} bytes"
