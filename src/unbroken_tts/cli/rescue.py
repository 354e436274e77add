"""The command `unbroken-tts rescue`: continue a run of the earlier trainer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken_tts.settings_flags import add_flags, read_settings

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser

DESCRIPTION: Final = """\
Continue a run of the earlier trainer from the best whole one of its files, at the next step, with
its weights, its optimiser and its learning rate; and tell in numbers what the run has suffered. The
old files are only read, and nothing in them is executed.

See first what there is; nothing is written:

  unbroken-tts rescue old_output --dry-run --config checkpoints/config.yaml \\
    --base-checkpoint checkpoints/gpt.pth --tokenizer tokenizer.model \\
    --train-manifest train_pairs.jsonl --val-manifest val_pairs.jsonl \\
    --epochs 10 --warmup-steps 1000

Then the same command without --dry-run trains on; after a stop, run it again. Where a flag is left
out, the old run's value is used as far as its file has it. `unbroken-tts train --resume auto` with
--output-dir old_output does the same."""

EPILOG: Final = """\
The value in [brackets] is the default of a new run. Exit codes: `unbroken-tts --help`."""

DECIDED: Final = ("resume", "init_from")
"""Settings that this command decides itself."""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "rescue",
        help="continue a run of the earlier trainer",
        usage="%(prog)s DIR --train-manifest FILE --val-manifest FILE --tokenizer FILE [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "source",
        metavar="DIR",
        type=Path,
        help="output directory of the earlier trainer, or one latest.pth or model_step{N}.pth; "
        "without --output-dir the run continues in this directory, beside the old files",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only tell what there is; write nothing"
    )
    add_flags(parser, without=DECIDED)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Take the old run over and train on; return the exit code."""
    source: Path = arguments.source
    here = source.parent if source.suffix == ".pth" else source
    settings = read_settings({"output_dir": here, **vars(arguments), "resume": "auto"})

    from unbroken_tts.train.main import train

    return train(settings, old=source, is_dry_run=arguments.dry_run)
