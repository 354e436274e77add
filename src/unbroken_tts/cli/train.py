"""The command `unbroken-tts train`: its flags and its help."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from unbroken_tts.settings_flags import add_flags, read_settings

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser

DESCRIPTION: Final = """\
Train on paired manifests, or continue a run that was stopped or killed.

The command to remember, on Linux and macOS:

  python trainers/train_gpt_v2.py \\
    --train-manifest preprocessed_amharic/train_pairs.jsonl \\
    --val-manifest preprocessed_amharic/val_pairs.jsonl \\
    --tokenizer tokenizers/amharic_extended_bpe.model \\
    --output-dir training_output --resume auto --amp

and on Windows:

  python trainers\\train_gpt_v2.py ^
    --train-manifest preprocessed_amharic\\train_pairs.jsonl ^
    --val-manifest preprocessed_amharic\\val_pairs.jsonl ^
    --tokenizer tokenizers\\amharic_extended_bpe.model ^
    --output-dir training_output --resume auto --amp

`unbroken-tts train` is the same program. After Ctrl+C or a kill, run the same command again: it
continues where it stopped."""

EPILOG: Final = """\
The value in [brackets] is the default. Exit codes: `unbroken-tts --help`."""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "train",
        help="train, or resume training",
        usage="%(prog)s --train-manifest FILE --val-manifest FILE --tokenizer FILE [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read the settings and train; return the exit code."""
    settings = read_settings(vars(arguments))

    from unbroken_tts.train.main import train

    return train(settings)
