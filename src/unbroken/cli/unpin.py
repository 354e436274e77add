"""The command `unbroken unpin`: the rules decide about a checkpoint again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from unbroken.cli.pin import add_pin_parser

if TYPE_CHECKING:
    from unbroken.cli.program import Parser

DESCRIPTION: Final = """\
Let the rules decide again about pinned checkpoints. Nothing is deleted at once.

  unbroken unpin training_output/checkpoints/step-00003500"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    summary = "let the rules decide again about pinned checkpoints"
    add_pin_parser(subparsers, "unpin", summary, DESCRIPTION, is_pin=False)
