"""The command `unbroken pin`: protects checkpoints from deletion by rules."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken.errors import NoUsableCheckpoint, SaveFailed

if TYPE_CHECKING:
    from unbroken.cli.program import Parser

DESCRIPTION: Final = """\
Keep checkpoints: neither the training nor `unbroken prune` deletes them. Their names are listed in
pins.json in the run's directory, and a running training reads them at its next save.

  unbroken pin training_output/checkpoints/step-00003500"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    add_pin_parser(
        subparsers, "pin", "keep checkpoints whatever the rules say", DESCRIPTION, is_pin=True
    )


def add_pin_parser(
    subparsers: argparse._SubParsersAction[Parser],
    name: str,
    summary: str,
    description: str,
    *,
    is_pin: bool,
) -> None:
    """Add `pin` or `unpin`."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("paths", metavar="CHECKPOINT", type=Path, nargs="+", help="a checkpoint")
    parser.set_defaults(run=lambda arguments: change(arguments.paths, is_pin=is_pin))


def is_pinned(checkpoint: Path) -> bool:
    """Return whether a checkpoint is pinned in its run's directory."""
    from unbroken.checkpoint.pins import read_pins
    from unbroken.cli.paths import run_directory_of

    return checkpoint.name in read_pins(run_directory_of(checkpoint))


def change(paths: list[Path], *, is_pin: bool) -> int:
    """Pin or unpin; return the exit code.

    Raises:
        NoUsableCheckpoint: A path to pin is not a checkpoint.
        CheckpointCorrupt: A checkpoint to pin is damaged.
        SaveFailed: The directory can't be written.
    """
    from unbroken.checkpoint.pins import read_pins, write_pins
    from unbroken.checkpoint.read import Checkpoint
    from unbroken.cli.paths import newest_if_latest, run_directory_of

    for path in map(newest_if_latest, paths):
        name = path.absolute().name
        layout = run_directory_of(path)
        if is_pin:
            _require_checkpoint(path)
            Checkpoint.at(path)
        pinned = read_pins(layout)
        changed = pinned | {name} if is_pin else pinned - {name}
        if changed != pinned:
            try:
                write_pins(layout, changed)
            except OSError as error:
                raise SaveFailed(
                    f"{layout.pins} can't be written: {error}.",
                    "The list of pinned checkpoints is unchanged.",
                    "Check the disk and the permissions of the run's directory.",
                ) from error
        print(f"{'pinned' if is_pin else 'not pinned'}  {path}")
    return 0


def _require_checkpoint(path: Path) -> None:
    """Refuse a path without the name of a checkpoint, such as the directory of a run."""
    from unbroken.checkpoint.layout import is_checkpoint_name

    if not is_checkpoint_name(path.absolute().name):
        raise NoUsableCheckpoint(
            f"{path} is not a checkpoint.",
            "Only checkpoints are kept or deleted by rules; nothing was pinned.",
            "Name a directory under checkpoints/, such as checkpoints/step-00003500.",
        )
