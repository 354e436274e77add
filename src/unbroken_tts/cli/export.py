"""The command `unbroken-tts export`: a run's weights as a `gpt.pth` for inference."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken_tts.cli.target import require_free, writing
from unbroken_tts.cli.weights_flags import add_form_flags, form_choice, print_notes

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser

DESCRIPTION: Final = """\
Write the weights of a run as a gpt.pth, with the names and shapes that inference loads: frozen
base rows and new rows joined, the untrained encoders of the base unchanged.

  unbroken-tts export training_output gpt.pth"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "export",
        help="write a run's weights as a gpt.pth for inference",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "source",
        metavar="RUN",
        type=Path,
        help="a run, one of its checkpoints, or a latest.pth or model_step{N}.pth of the earlier "
        "trainer",
    )
    parser.add_argument("target", metavar="FILE", type=Path, help="the gpt.pth to write")
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=Path("checkpoints/config.yaml"),
        help="model configuration of a weights file; a run has its own [checkpoints/config.yaml]",
    )
    parser.add_argument(
        "--ema", action="store_true", help="use the moving average of a run's weights"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    add_form_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file; return the exit code."""
    target: Path = arguments.target
    require_free(target, is_forced=arguments.force)

    from unbroken_tts.cli.weights import open_weights
    from unbroken_tts.export import merge, write_gpt_pth

    weights = open_weights(
        arguments.source, arguments.config, averaged=arguments.ema, choice=form_choice(arguments)
    )
    print_notes(weights.notes)
    tensors = merge(weights.model, weights.untrained_encoders)
    with writing(target):
        write_gpt_pth(target, tensors)
    size = target.stat().st_size / 1e6
    print(f"Wrote {target}: {len(tensors)} tensors, {size:.1f} MB, vocabulary ", end="")
    print(f"{weights.model.vocabulary} (number_text_tokens in the config of inference).")
    return 0
