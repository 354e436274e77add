"""The flags for what a file of weights doesn't say itself. Import nothing heavy here."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from unbroken import SettingsInvalid

if TYPE_CHECKING:
    from unbroken_tts.model.published_forms import FormChoice


def add_form_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a command that reads a file of weights."""
    add = parser.add_argument_group("files of weights in other forms").add_argument
    add(
        "--weights-entry",
        metavar="NAME",
        help="which weights to use where a file has several, such as ema_model",
    )
    add(
        "--adapter-alpha",
        metavar="A",
        type=float,
        help="alpha of an unmerged LoRA adapter [that of adapter_config.json beside the file]",
    )


def form_choice(arguments: argparse.Namespace) -> FormChoice:
    """Return what the flags say.

    Raises:
        SettingsInvalid: The alpha is not a positive number.
    """
    from unbroken_tts.model.published_forms import FormChoice

    alpha: float | None = arguments.adapter_alpha
    if alpha is not None and not 0 < alpha < math.inf:
        raise SettingsInvalid(
            f"--adapter-alpha is {alpha:g}, but must be a number above 0.",
            "What the adapter adds is multiplied by it.",
            "Give the alpha with which the adapter was trained.",
        )
    return FormChoice(entry=arguments.weights_entry, adapter_alpha=alpha)


def print_notes(notes: Iterable[str]) -> None:
    """Print remarks on a file to the error output, which the results of a command leave free."""
    for note in notes:
        print(f"NOTE: {note}", file=sys.stderr)
