"""The command `unbroken-tts normalise`: what a model reads for a text."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken import DataInvalid

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser

DESCRIPTION: Final = """\
Show what the tokenizer gets for a text: numbers and abbreviations in words, one letter per sound,
plain marks, capitals. That is what the model hears.

  unbroken-tts normalise "በ2017 ዓ.ም. 50% ነው።"

With --tokenizer, also the pieces and the characters that the tokenizer has no piece for."""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "normalise",
        help="show what a model reads for a text",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "text", metavar="TEXT|FILE", help="a text, a file with one text a line, or - for stdin"
    )
    parser.add_argument("--language", default="am", help="language of the text [%(default)s]")
    parser.add_argument(
        "--front",
        choices=["unbroken", "indextts", "indextts-am", "indextts-2.5"],
        default="unbroken",
        help="whose rules: this project's, or those of IndexTTS2, its Amharic fork or IndexTTS-2.5 "
        "[%(default)s]",
    )
    parser.add_argument(
        "--tokenizer", metavar="FILE", type=Path, help="show its pieces and unknown characters, too"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the normalised texts; return the exit code.

    Raises:
        DataInvalid: A file can't be read, or a text can't be read by the front end.
    """
    from unbroken import legible
    from unbroken_tts.cli.texts import texts_of
    from unbroken_tts.prepare.fronts import front_end

    tokenizer = None
    if arguments.tokenizer is not None:
        from unbroken_tts.data.open_tokenizer import open_tokenizer

        tokenizer = open_tokenizer(arguments.tokenizer)
    texts = texts_of(arguments.text)
    refused: list[DataInvalid] = []
    for text in texts:
        try:
            normal = front_end(text, arguments.language, arguments.front)
        except DataInvalid as error:
            refused.append(error)
            print(legible(f"! {error.what}", sys.stderr.encoding), file=sys.stderr)
            continue
        print(legible(normal, sys.stdout.encoding))
        if tokenizer is None:
            continue
        from unbroken_tts.prepare.front_comparison import unknown_characters

        ids = tokenizer.encode(normal)
        print(legible("  " + " ".join(tokenizer.pieces[each] for each in ids), sys.stdout.encoding))
        if unknown := unknown_characters(normal, tokenizer):
            print(legible(f"  no piece for: {' '.join(unknown)}", sys.stdout.encoding))
    if refused:
        first = refused[0]
        what = f"{len(refused)} of {len(texts)} texts can't be read by --front {arguments.front}."
        raise DataInvalid(what, first.why, first.remedy)
    return 0
