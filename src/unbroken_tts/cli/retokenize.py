"""The command `unbroken-tts retokenize`: new text ids beside untouched features."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser
    from unbroken_tts.prepare.retokenize import Retokenized

DESCRIPTION: Final = """\
Encode the texts of prepared data with another tokenizer. Codes, conditioning and emotion vectors stay
where they are; the new directory has new text ids, and manifests that name the old features.

  unbroken-tts retokenize preprocessed_amharic --tokenizer grown.model --output preprocessed_grown"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "retokenize",
        help="make new text ids for prepared data; codes and conditioning stay",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "features", metavar="FEATURES", type=Path, help="directory of prepared data, of any tool"
    )
    parser.add_argument(
        "--tokenizer", metavar="FILE", type=Path, required=True, help="the new tokenizer"
    )
    parser.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="the new directory"
    )
    parser.add_argument(
        "--language",
        default="am",
        help="language of lines that don't name one, for data of other tools [%(default)s]",
    )
    parser.add_argument(
        "--front",
        choices=["unbroken", "indextts", "indextts-am", "indextts-2.5"],
        default="unbroken",
        help="text front end, for data of other tools [%(default)s]",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the new directory; print a summary; return the exit code."""
    from unbroken_tts.cli.stages import stage_lines
    from unbroken_tts.cli.target import writing
    from unbroken_tts.prepare.retokenize import retokenize

    with stage_lines() as stages, writing(arguments.output):
        found = retokenize(
            arguments.features,
            arguments.tokenizer,
            arguments.output,
            language=arguments.language,
            front=arguments.front,
            progress=stages("Encoding texts"),
        )
    print(_summary(found))
    return 0


def _summary(found: Retokenized) -> str:
    rate = found.unknown
    lines = [
        f"Wrote      {found.output}: {', '.join(found.manifests)}",
        f"Texts      {found.utterances}, {rate.tokens} tokens",
        f"Unknown    {rate.unknown} of {rate.tokens} tokens ({100 * rate.share:.2f} %)",
        f"Tokenizer  {found.vocabulary} pieces{_kept(found)}",
    ]
    return "\n".join(lines)


def _kept(found: Retokenized) -> str:
    if found.kept is None:
        return ""
    if found.kept == found.former:
        return f", the first {found.kept} are the former tokenizer's"
    if found.kept == found.vocabulary:
        return f", the first of the {found.former} of the former tokenizer"
    return f"; the former had {found.former}, and piece {found.kept} is another"
