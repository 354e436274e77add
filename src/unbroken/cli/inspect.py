"""The command `unbroken inspect`: shows the contents of a checkpoint, or a run's checkpoints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken.cli.figures import shown, size_text, time_text
from unbroken.errors import CheckpointCorrupt

if TYPE_CHECKING:
    from unbroken.checkpoint.read import Checkpoint
    from unbroken.cli.program import Parser

DESCRIPTION: Final = """\
Show what is in a checkpoint: its position, parts and sizes, every tensor with its digest, the facts
of the run and what was observed at the save. For a run's directory: its checkpoints, one per line.
Tensors are not read; `unbroken verify` reads them.

  unbroken inspect training_output
  unbroken inspect training_output/checkpoints/step-00003500 --json"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "inspect",
        help="show the contents of a checkpoint: position, sizes, parts, tensors, facts",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="a checkpoint or a run's directory")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print and return the exit code.

    Raises:
        CheckpointCorrupt: The checkpoint is damaged.
        NoUsableCheckpoint: There is none.
    """
    from unbroken.checkpoint.read import Checkpoint
    from unbroken.cli.paths import checkpoints_at

    found = checkpoints_at(arguments.path)
    if found == [arguments.path]:
        said = _content(Checkpoint.at(arguments.path))
        show = _show_content
    else:
        said = {"path": str(arguments.path), "checkpoints": [_summary(each) for each in found]}
        show = _show_list
    if arguments.json:
        print(json.dumps(said, ensure_ascii=False, default=repr))
    else:
        show(said)
    return 0


def _summary(path: Path) -> dict[str, Any]:
    from unbroken.checkpoint.read import Checkpoint
    from unbroken.cli.pin import is_pinned

    try:
        checkpoint = Checkpoint.at(path)
    except CheckpointCorrupt as error:
        return {"name": path.name, "problem": error.what}
    return {"name": path.name, **_head(checkpoint), "pinned": is_pinned(path)}


def _head(checkpoint: Checkpoint) -> dict[str, Any]:
    manifest = checkpoint.manifest
    return {
        "run_id": manifest.run_id,
        "format": manifest.format,
        "start": manifest.start,
        "created": manifest.created,
        "position": dict(manifest.position),
        "metrics": dict(manifest.metrics),
        "verified_from": manifest.verified_from,
        "bytes": checkpoint.size,
        "processes": checkpoint.ranks,
    }


def _content(checkpoint: Checkpoint) -> dict[str, Any]:
    manifest = checkpoint.manifest
    sizes = {name: each.size for name, each in manifest.files.items()}
    leaves = checkpoint.leaves
    parts = {
        name: {
            "bytes": sizes.get(f"{name}.safetensors", 0),
            "leaves": sum(each.file == f"{name}.safetensors" for each in leaves.values()),
        }
        for name in checkpoint.part_names()
    }
    return {
        "path": str(checkpoint.path),
        **_head(checkpoint),
        "files": {name: each.model_dump() for name, each in manifest.files.items()},
        "parts": parts,
        "leaves": {
            name: {"dtype": each.dtype, "shape": each.shape, "digest": each.digest}
            for name, each in leaves.items()
        },
        "facts": checkpoint.facts(),
        "evidence": checkpoint.evidence(),
    }


def _show_list(said: dict[str, Any]) -> None:

    for each in said["checkpoints"]:
        if "problem" in each:
            print(f"{each['name']:<18}{each['problem']}")
            continue
        scores = " ".join(f"{shown(name)}={value:.6g}" for name, value in each["metrics"].items())
        print(
            f"{each['name']:<18}{size_text(each['bytes']):>10}  {time_text(each['created'])}  "
            f"{'pinned ' if each['pinned'] else ''}{scores}".rstrip()
        )


def _show_content(said: dict[str, Any]) -> None:

    print(f"checkpoint     {said['path']}")
    print(f"run            {shown(said['run_id'])}, start {said['start']}, format {said['format']}")
    print(f"created        {time_text(said['created'])}, verified from {said['verified_from']}")
    print("position       " + ", ".join(f"{k} {v}" for k, v in said["position"].items()))
    if said["processes"] > 1:
        print(f"ranks          {said['processes']} processes; this is what the first one stored")
    for name, value in said["metrics"].items():
        print(f"metric         {shown(name)} = {value!r}")
    print(f"size           {size_text(said['bytes'])} in {len(said['files'])} files")
    for name, part in said["parts"].items():
        print(f"part           {shown(name)}: {part['leaves']} tensors, {size_text(part['bytes'])}")
    width = max((len(name) for name in said["leaves"]), default=0)
    for name, leaf in said["leaves"].items():
        shape = "x".join(map(str, leaf["shape"])) or "scalar"
        print(
            f"leaf           {shown(name):<{width}}  {leaf['dtype']:<5} {shape:<16} {leaf['digest']}"
        )
    for kind in ("facts", "evidence"):
        for name, value in sorted(_flat(said[kind])):
            text = repr(value)
            print(f"{kind:<14} {shown(name)} = {text if len(text) <= 200 else text[:197] + '...'}")


def _flat(value: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, each in value.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(each, dict) and each:
            found += _flat(each, name)
        else:
            found.append((name, each))
    return found
