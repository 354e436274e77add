"""The command `unbroken diff`: which tensors, values and facts of two checkpoints differ."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken.cli.figures import shown

if TYPE_CHECKING:
    from unbroken.checkpoint.difference import Difference, LeafDifference
    from unbroken.cli.program import Parser
    from unbroken.state.facts import FactDifference

DIFFERENT: Final = 3
"""The exit code if the two differ: the same as for a run that diverged."""

DESCRIPTION: Final = """\
Show which tensors of two checkpoints differ and by how much (the largest absolute difference, and
the norm of the difference relative to the norm of A), largest first, and which other values and
facts differ. For a run's directory its newest checkpoint is used. Both are read and verified first.
Exit code 0 if nothing differs, 3 if something does, 4 if one is damaged.

  unbroken diff run_a run_b
  unbroken diff run_a/checkpoints/step-00000500 run_b/checkpoints/step-00000500 --json"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "diff",
        help="show which tensors, values and facts of two checkpoints differ, and by how much",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "a",
        metavar="A",
        type=Path,
        help="a checkpoint, latest in a run's directory, or that directory",
    )
    parser.add_argument("b", metavar="B", type=Path, help="the other")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print; return the exit code.

    Raises:
        CheckpointCorrupt: One is damaged.
        NoUsableCheckpoint: One doesn't exist.
    """
    from unbroken.checkpoint.difference import difference
    from unbroken.checkpoint.read import Checkpoint
    from unbroken.cli.paths import one_checkpoint_at
    from unbroken.report.progress import progress_bars

    a, b = (Checkpoint.at(one_checkpoint_at(path)) for path in (arguments.a, arguments.b))
    # Digests are compared: they tell of the bytes that are there only once these are verified.
    with progress_bars(counts_bytes=True) as bar:
        for each in (a, b):
            each.verify(bar(f"verifying {each.path.name}"))
    with progress_bars() as bar:
        found = difference(a, b, bar("comparing tensors"))
    if arguments.json:
        print(json.dumps(_plain(str(a.path), str(b.path), found), ensure_ascii=False))
    else:
        _show(f"A {a.path}", f"B {b.path}", found)
    return 0 if found.is_none else DIFFERENT


def _plain(a: str, b: str, found: Difference) -> dict[str, Any]:
    def number(value: Any) -> Any:
        return repr(value) if isinstance(value, float) and not math.isfinite(value) else value

    return {
        "a": a,
        "b": b,
        "same_leaves": found.same_leaves,
        "leaves": [{k: number(v) for k, v in asdict(each).items()} for each in found.leaves],
        "values": [_sides(each) for each in found.values],
        "facts": [_sides(each) for each in found.facts],
    }


def _sides(each: FactDifference) -> dict[str, Any]:
    return {"name": each.name, "a": repr(each.saved), "b": repr(each.live)}


def _show(a: str, b: str, found: Difference) -> None:

    print(a)
    print(b)
    for leaf in found.leaves:
        print(f"leaf   {_measure(leaf)}  {shown(leaf.leaf)}")
    for kind, differing in (("value", found.values), ("fact", found.facts)):
        for each in differing:
            sides = f"{each.saved!r:.100} -> {each.live!r:.100}"
            print(f"{kind:<6} {shown(each.name)}: {sides}")
    print(
        f"{len(found.leaves)} of {len(found.leaves) + found.same_leaves} tensors differ, "
        f"{len(found.values)} other values, {len(found.facts)} facts"
    )


def _measure(leaf: LeafDifference) -> str:
    if math.isnan(leaf.relative):
        return f"{leaf.what} {leaf.detail}".strip()
    if leaf.what == "bits":
        return "equal as numbers, other bits"
    return f"relative {leaf.relative:.3e}  max {leaf.max_abs:.3e}  {leaf.elements} of {leaf.of} elements"
