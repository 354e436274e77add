"""The command `unbroken verify`: the bytes of checkpoints, or the use of a run's samples."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken.cli.figures import size_text
from unbroken.errors import (
    CheckpointCorrupt,
    CheckpointOfLaterVersion,
    CheckpointUnreadable,
    NoUsableCheckpoint,
)

if TYPE_CHECKING:
    from unbroken.cli.program import Parser

DESCRIPTION: Final = """\
Read every file of checkpoints and compare sizes and digests with their manifests. Nothing is
changed or moved. Exit code 0 if none is damaged, 4 if one is.

  unbroken verify training_output
  unbroken verify training_output/checkpoints/step-00003500

With --ledger, read a run's journal and history instead, and prove for each epoch that every sample
was used exactly once, over all stops, kills and resumes, or name the epoch and step where one was
not. Exit code 0 if it is proved, 3 if there is a repeat or a gap, 4 if the journal can't tell.

  unbroken verify --ledger training_output"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "verify",
        help="compare every byte of checkpoints with what was saved; --ledger: prove each sample's use",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "paths",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="a checkpoint, latest in a run's directory, or that directory",
    )
    parser.add_argument(
        "--ledger",
        action="store_true",
        help="prove from the journal that each sample of each epoch was used exactly once",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify and print; return the exit code.

    Raises:
        NoUsableCheckpoint: One is damaged, or there is none; or there is no journal.
    """
    if arguments.ledger:
        from unbroken.cli.ledger import run_ledger

        return run_ledger(arguments.paths, as_json=arguments.json)
    from unbroken.cli.paths import checkpoints_at
    from unbroken.report.progress import progress_bars

    found = [each for path in arguments.paths for each in checkpoints_at(path)]
    bad = 0
    with progress_bars(counts_bytes=True) as bar:
        for path in found:
            outcome = _verified(path, bar(path.name))
            bad += outcome["outcome"] != "whole"
            if arguments.json:
                print(json.dumps(outcome), flush=True)
            else:
                said = outcome.get("why") or f"{path}  {size_text(outcome['bytes'])}"
                print(f"{outcome['outcome']:<11}{said}", flush=True)
    if bad:
        raise NoUsableCheckpoint(
            f"{bad} of {len(found)} checkpoints are damaged.",
            "A run can't continue from them; nothing was changed.",
            "Check the disk. "
            + (
                'Resume with "auto", which takes the newest checkpoint that is not damaged.'
                if bad < len(found) or len(found) == 1
                else "Restore a checkpoint of the run from a backup, or begin a new run."
            ),
        )
    return 0


def _verified(path: Path, report: Callable[[int, int], None]) -> dict[str, Any]:
    from unbroken.checkpoint.read import Checkpoint

    said: dict[str, Any] = {"path": str(path)}
    try:
        checkpoint = Checkpoint.at(path)
        checkpoint.verify(report)
        checkpoint.stored_parts()
    except CheckpointCorrupt as error:
        return said | {"outcome": _OUTCOMES.get(type(error), "damaged"), "why": error.what}
    return said | {
        "outcome": "whole",
        "step": checkpoint.position.step,
        "bytes": checkpoint.size,
        "files": len(checkpoint.manifest.files),
        "leaves": len(checkpoint.manifest.leaves),
    }


_OUTCOMES: Final[dict[type, str]] = {
    CheckpointUnreadable: "unreadable",
    CheckpointOfLaterVersion: "unknown",
}
