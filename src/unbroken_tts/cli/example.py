"""The command `unbroken-tts example`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken_tts.cli.target import writing

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser

DESCRIPTION: Final = """\
Write small example data under the names that the README uses: preprocessed_amharic/, tokenizers/,
checkpoints/config.yaml and checkpoints/gpt.pth. The speech is by espeak-ng; the base checkpoint is
valid but untrained. Files that this command did not make are never overwritten."""

NEXT: Final = """\

Now train on it:

  python trainers/train_gpt_v2.py \\
    --train-manifest preprocessed_amharic/train_pairs.jsonl \\
    --val-manifest preprocessed_amharic/val_pairs.jsonl \\
    --tokenizer tokenizers/amharic_extended_bpe.model \\
    --output-dir training_output --resume auto --amp

The defaults are for hours of speech on a GPU. For this small data set, add
  --batch-size 8 --grad-accumulation 4 --epochs 20 --warmup-steps 5 --log-interval 5 --save-interval 10"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "example",
        help="write small example data under the names the README uses",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where to write them [the current directory]",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the example data; print what was made; return the exit code.

    Raises:
        UnbrokenError: An extra is missing, or files are in the way.
    """
    from unbroken import progress_bars
    from unbroken_tts.example import make_example

    with writing(arguments.directory):
        arguments.directory.mkdir(parents=True, exist_ok=True)
    with progress_bars(stays=True) as stages:
        example = make_example(arguments.directory, stages=stages)
    encoding = sys.stdout.encoding or "utf-8"
    print(example.summary.text().encode(encoding, errors="replace").decode(encoding))
    print(NEXT)
    return 0
