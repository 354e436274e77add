"""The command `unbroken-tts tokenizer`: train, extend, report, diff."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken_tts.cli.target import require_free, writing

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser
    from unbroken_tts.data.tokenizer import Tokenizer

DESCRIPTION: Final = """\
Train, extend and judge tokenizers, without recordings.

  unbroken-tts tokenizer extend checkpoints/bpe.model texts.txt --vocabulary 16000 --output am.model
  unbroken-tts tokenizer report am.model texts.txt --base checkpoints/bpe.model
  unbroken-tts tokenizer diff checkpoints/bpe.model am.model --texts english.txt --language en

TEXTS are files with one text per line, or lists of recordings as `prepare` reads them, of which only
the texts are read. They are normalised as `prepare` does."""

TRAIN: Final = "Train a tokenizer on texts; equal texts give equal bytes."

EXTEND: Final = """\
Append pieces of a new script to a tokenizer. All old ids stay, and every new piece is used by the
texts. A unigram base (such as that of IndexTTS2) and a BPE base keep their kind. Marks that the texts
need and the base lacks are appended, too. The `.tiktoken` file of IndexTTS-2.5 gets merges of bytes
instead; the ids of its special tokens move back by their number.

  unbroken-tts tokenizer extend checkpoints/bpe.model texts.txt --vocabulary 16000 --output am.model"""

REPORT: Final = """\
Print what a tokenizer is, and how it cuts texts: unknown rate by character, tokens per word, pieces
that are never used, scripts, the worst words.

  unbroken-tts tokenizer report am.model texts.txt --base checkpoints/bpe.model"""

DIFF: Final = """\
Print which ids and pieces of two tokenizers differ, whether B extends A, and which texts they cut
otherwise. The exit code is 0 if B is A or extends it and cuts every text as A does, else 3.

  unbroken-tts tokenizer diff checkpoints/bpe.model am.model --texts english.txt --language en"""

_DIFFERENT: Final = 3


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its actions to the program."""
    parser = subparsers.add_parser(
        "tokenizer",
        help="train, extend, judge and compare tokenizers",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(
        title="actions", dest="action", metavar="ACTION", parser_class=type(parser), required=True
    )
    _add_train(actions)
    _add_extend(actions)
    _add_report(actions)
    _add_diff(actions)


def _action(
    actions: argparse._SubParsersAction[Parser], name: str, summary: str, description: str
) -> Parser:
    return actions.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_train(actions: argparse._SubParsersAction[Parser]) -> None:
    parser = _action(actions, "train", "train one on texts", TRAIN)
    _add_texts(parser, "+")
    parser.add_argument("--size", type=int, required=True, metavar="N", help="number of pieces")
    parser.add_argument(
        "--kind", choices=["bpe", "unigram"], default="bpe", help="how it cuts texts [%(default)s]"
    )
    _add_output(parser)
    parser.set_defaults(run=run_train)


def _add_extend(actions: argparse._SubParsersAction[Parser]) -> None:
    parser = _action(actions, "extend", "append pieces of a new script", EXTEND)
    parser.add_argument("base", type=Path, metavar="BASE", help="the tokenizer to extend")
    _add_texts(parser, "+")
    parser.add_argument(
        "--vocabulary",
        type=int,
        metavar="SIZE",
        help="number of pieces then [twice the base's; 2000 more than a .tiktoken file has]",
    )
    parser.add_argument(
        "--script",
        default="Ethiopic",
        help="the new script: the first word of its letters' Unicode names [%(default)s]",
    )
    parser.add_argument(
        "--base-texts",
        type=Path,
        metavar="FILE",
        help="texts in the old language, one per line, whose ids are verified not to change, beside "
        "those that are built in [built-in English sentences]",
    )
    parser.add_argument(
        "--base-language", default="en", help="language of --base-texts [%(default)s]"
    )
    parser.add_argument(
        "--all-letters",
        action="store_true",
        help="also append the letters of the script that the texts don't contain, for recordings "
        "that come later; until then their rows stay untrained",
    )
    _add_output(parser)
    parser.set_defaults(run=run_extend)


def _add_report(actions: argparse._SubParsersAction[Parser]) -> None:
    parser = _action(actions, "report", "print what one is and how it cuts texts", REPORT)
    parser.add_argument("tokenizer", type=Path, metavar="TOKENIZER", help="its file")
    _add_texts(parser, "*")
    parser.add_argument(
        "--base", type=Path, metavar="FILE", help="the tokenizer that it extends: judge new pieces"
    )
    parser.add_argument(
        "--worst", type=int, default=10, metavar="N", help="number of worst words [%(default)s]"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_report)


def _add_diff(actions: argparse._SubParsersAction[Parser]) -> None:
    parser = _action(actions, "diff", "compare two", DIFF)
    parser.add_argument("a", type=Path, metavar="A", help="the old tokenizer")
    parser.add_argument("b", type=Path, metavar="B", help="the new tokenizer")
    parser.add_argument(
        "--texts",
        type=Path,
        action="append",
        default=[],
        metavar="TEXTS",
        help="texts to cut with both; may be repeated",
    )
    _add_language(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_diff)


def _add_texts(parser: Parser, number: str) -> None:
    parser.add_argument(
        "texts", nargs=number, type=Path, metavar="TEXTS", help="texts, or lists of recordings"
    )
    _add_language(parser)


def _add_language(parser: Parser) -> None:
    parser.add_argument(
        "--language",
        default="am",
        help="language of texts that don't name one; `none` leaves all as they are [%(default)s]",
    )


def _add_output(parser: Parser) -> None:
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="the `.model` file to write"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def run_train(arguments: argparse.Namespace) -> int:
    """Train and write a tokenizer; return the exit code.

    Raises:
        UnbrokenError: The texts can't be read, the size is impossible, or FILE exists.
    """
    _require_model(arguments.output)
    require_free(arguments.output, is_forced=arguments.force)

    from unbroken_tts.prepare.tokenizer_texts import read_texts
    from unbroken_tts.prepare.tokenizers import processor, train_tokenizer, unknown_rate

    texts = read_texts(arguments.texts, arguments.language)
    model = train_tokenizer(texts, arguments.size, kind=arguments.kind)
    _write(arguments.output, model)
    encoder = processor(model)
    _say(f"Wrote {arguments.output}: {arguments.kind}, {encoder.GetPieceSize()} pieces.")
    _say(f"Unknown    {unknown_rate(encoder, texts)}")
    return 0


def run_extend(arguments: argparse.Namespace) -> int:
    """Extend a tokenizer and write the result; return the exit code.

    Raises:
        UnbrokenError: An input can't be read, the size is impossible, or FILE exists.
    """
    require_free(arguments.output, is_forced=arguments.force)

    from unbroken_tts.data.tiktoken_tokenizer import looks_like_tiktoken

    if looks_like_tiktoken(base := _read(arguments.base)):
        return _extend_bytes(arguments, base)
    _require_model(arguments.output)

    from unbroken import progress_bars
    from unbroken_tts.corpus.sentences import load_sentences
    from unbroken_tts.prepare.extension import extend
    from unbroken_tts.prepare.normalisation import normalise
    from unbroken_tts.prepare.tokenizer_texts import read_texts

    texts = read_texts(arguments.texts, arguments.language)
    language = arguments.base_language
    old = (
        [normalise(text, "en") for text in load_sentences("en")]
        if arguments.base_texts is None
        else read_texts([arguments.base_texts], language)
    )
    with progress_bars(stays=True) as stages:
        extension = extend(
            base,
            texts,
            arguments.vocabulary,
            script=arguments.script,
            base_texts=old,
            all_letters=arguments.all_letters,
            progress=stages("Fitting new pieces"),
        )
    _write(arguments.output, extension.model)
    _say(f"Wrote {arguments.output}: {extension.text()}")
    return 0


def _extend_bytes(arguments: argparse.Namespace, content: bytes) -> int:
    from unbroken import SettingsInvalid
    from unbroken_tts.data.tiktoken_tokenizer import TiktokenTokenizer
    from unbroken_tts.prepare.byte_merges import MERGES, extend_bytes

    if arguments.all_letters or arguments.base_texts:
        raise SettingsInvalid(
            f"{arguments.base} is a vocabulary of bytes, and --all-letters or --base-texts was given.",
            "It spells every letter already, and what is appended can't change a text without the script.",
            "Omit them.",
        )
    base = TiktokenTokenizer(arguments.base, content)
    size = arguments.vocabulary or base.vocabulary + MERGES
    found = extend_bytes(base, _texts_for(base, arguments), size, script=arguments.script)
    _write(arguments.output, found.content)
    _say(f"Wrote {arguments.output}: {found.text()}")
    return 0


def run_report(arguments: argparse.Namespace) -> int:
    """Print a report on a tokenizer; return the exit code.

    Raises:
        UnbrokenError: An input can't be read.
    """
    from dataclasses import asdict

    from unbroken_tts.data.open_tokenizer import open_tokenizer
    from unbroken_tts.prepare.tokenizer_report import report_on

    tokenizer = open_tokenizer(arguments.tokenizer)
    texts = _texts_for(tokenizer, arguments)
    base = open_tokenizer(arguments.base).vocabulary if arguments.base else None
    found = report_on(tokenizer, texts, base_size=base, worst=max(0, arguments.worst))
    _say(json.dumps(asdict(found), ensure_ascii=False) if arguments.json else found.text())
    return 0


def run_diff(arguments: argparse.Namespace) -> int:
    """Print how two tokenizers differ; return 3 if old ids don't stay.

    Raises:
        UnbrokenError: An input can't be read.
    """
    from dataclasses import asdict

    from unbroken_tts.data.open_tokenizer import open_tokenizer
    from unbroken_tts.prepare.tokenizer_difference import difference

    a, b = open_tokenizer(arguments.a), open_tokenizer(arguments.b)
    found = difference(a, b, _texts_for(b, arguments))
    _say(json.dumps(asdict(found), ensure_ascii=False) if arguments.json else found.text())
    return 0 if found.old_ids_stay else _DIFFERENT


def _texts_for(tokenizer: Tokenizer, arguments: argparse.Namespace) -> list[str]:
    """Return the texts in the form that a tokenizer gets, without tokens of languages."""
    from unbroken_tts.prepare.fronts import DEFAULT, WITH_LANGUAGE
    from unbroken_tts.prepare.indextts25_front import without_token
    from unbroken_tts.prepare.tokenizer_texts import read_texts

    if not arguments.texts:
        return []
    front = WITH_LANGUAGE if tokenizer.languages else DEFAULT
    return [without_token(each) for each in read_texts(arguments.texts, arguments.language, front)]


def _require_model(output: Path) -> None:
    """Refuse the name of a kind of file that isn't written here."""
    from unbroken import SettingsInvalid

    if output.suffix.lower() == ".tiktoken":
        raise SettingsInvalid(
            f"The output {output} is named like a vocabulary of IndexTTS-2.5.",
            "What would be written is a SentencePiece model.",
            "Name a `.model` file; to extend a vocabulary, name it as BASE.",
        )


def _read(path: Path) -> bytes:
    from unbroken_tts.prepare.plan import TokenizerPlan

    return TokenizerPlan(kind="existing", path=path).read()


def _write(path: Path, model: bytes) -> None:
    from unbroken_tts.prepare.written import write_whole

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, model)


def _say(text: str) -> None:
    """Print; a console with a small character set must not end the work with an encoding error."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, errors="replace").decode(encoding))
