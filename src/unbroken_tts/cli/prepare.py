"""The command `unbroken-tts prepare`: its flags and its help."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken import DataInvalid, SettingsInvalid

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser
    from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan

DESCRIPTION: Final = """\
Turn recordings and their texts into what training reads: text ids, codes, conditioning, emotion
vectors, pairs, and manifests split into training and validation.

SOURCE is a metadata.csv as LJSpeech has it (id|text|normalised text|speaker|language, recordings in
wavs/ beside it), a .jsonl file (id, audio, text, speaker, language), or the directory that holds one.

A new language on top of an existing tokenizer (old ids stay as they are, and that is proven):

  unbroken-tts prepare recordings/metadata.csv --output preprocessed_amharic \\
    --extend-tokenizer tokenizers/base_bpe.model --vocabulary 24000

Interrupted or killed, the same command goes on where it stopped. With new lines in SOURCE it adds
them; codec and tokenizer then stay as they are."""

EPILOG: Final = """\
The tokenizer is left in OUTPUT/tokenizer.model, the embedded codec in OUTPUT/codec. Nothing in a
directory that this command did not make is overwritten. Exit codes: `unbroken-tts --help`."""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "prepare",
        help="turn recordings and their texts into training data",
        usage="%(prog)s SOURCE --output DIR "
        "(--tokenizer FILE | --extend-tokenizer BASE | --train-tokenizer SIZE) [...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_inputs(parser)
    _add_tokenizer(parser)
    _add_choices(parser)
    parser.set_defaults(run=run)


def _add_inputs(parser: Parser) -> None:
    group = parser.add_argument_group("input and output")
    group.add_argument("source", nargs="?", type=Path, metavar="SOURCE", help="list of recordings")
    group.add_argument(
        "--metadata", type=Path, metavar="FILE", help="the same as SOURCE, as a flag"
    )
    group.add_argument(
        "--audio-dir", type=Path, metavar="DIR", help="where recordings lie, if not beside the list"
    )
    group.add_argument("--output", type=Path, required=True, metavar="DIR", help="the data set")
    group.add_argument(
        "--language", default="am", help="language of lines that name none [%(default)s]"
    )
    group.add_argument(
        "--config",
        type=Path,
        default=Path("checkpoints/config.yaml"),
        metavar="FILE",
        help="the model that the data is for: widths and limits [%(default)s]",
    )


def _add_tokenizer(parser: Parser) -> None:
    group = parser.add_argument_group("tokenizer (one of the first three)")
    group.add_argument("--tokenizer", type=Path, metavar="FILE", help="use this one as it is")
    group.add_argument(
        "--extend-tokenizer",
        type=Path,
        metavar="BASE",
        help="append pieces of the new script to this one",
    )
    group.add_argument(
        "--train-tokenizer", type=int, metavar="SIZE", help="train one of this many pieces"
    )
    group.add_argument(
        "--vocabulary",
        type=int,
        metavar="SIZE",
        help="pieces in all after --extend-tokenizer [twice the base's]",
    )
    group.add_argument(
        "--script",
        default="Ethiopic",
        help="the new script, as the Unicode names of its letters begin [%(default)s]",
    )
    group.add_argument(
        "--base-texts",
        type=Path,
        metavar="FILE",
        help="old-language texts, one a line, whose ids are proven unchanged "
        "[English sentences of ours]",
    )
    group.add_argument(
        "--base-language", default="en", help="language of --base-texts [%(default)s]"
    )


def _add_choices(parser: Parser) -> None:
    group = parser.add_argument_group("choices")
    group.add_argument(
        "--codec",
        default="melvq",
        metavar="melvq|DIR",
        help="fit the embedded codec, or use a saved one [%(default)s]",
    )
    group.add_argument(
        "--val-ratio",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="utterances held back for validation [%(default)s]",
    )
    group.add_argument(
        "--pairs-per-target",
        type=int,
        default=2,
        metavar="N",
        help="prompts of the same speaker for each target [%(default)s]",
    )
    group.add_argument(
        "--on-bad",
        choices=["stop", "drop"],
        default="stop",
        help="recordings that can't be used: tell of all and stop, or leave them out [%(default)s]",
    )


def _source(arguments: argparse.Namespace) -> Path:
    if (arguments.source is None) == (arguments.metadata is None):
        given = "both" if arguments.source else "neither"
        raise SettingsInvalid(
            f"The list of recordings is given by {given} SOURCE and --metadata.",
            "They are two ways to name the same thing.",
            "Name it once, as in: unbroken-tts prepare recordings/metadata.csv --output DIR ...",
        )
    source: Path = arguments.source or arguments.metadata
    return source


def _base_texts(path: Path | None) -> tuple[str, ...]:
    from unbroken_tts.corpus.sentences import load_sentences

    if path is None:
        return tuple(load_sentences("en"))
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DataInvalid(
            f"The old-language texts {path} can't be read ({error}).",
            "They are needed to prove that the extension changes nothing for them.",
            "Name a UTF-8 text file with --base-texts, one text a line.",
        ) from error


def _tokenizer_plan(arguments: argparse.Namespace) -> TokenizerPlan:
    from unbroken_tts.prepare.plan import TokenizerPlan

    existing, base, size = (
        arguments.tokenizer,
        arguments.extend_tokenizer,
        arguments.train_tokenizer,
    )
    given = sum(choice is not None for choice in (existing, base, size))
    if given != 1:
        raise SettingsInvalid(
            f"{given} of --tokenizer, --extend-tokenizer and --train-tokenizer are given.",
            "The text ids of a data set are those of one tokenizer.",
            "Pass one of the three.",
        )
    if existing is not None:
        return TokenizerPlan(kind="existing", path=existing)
    if size is not None:
        return TokenizerPlan(kind="train", size=size)
    return TokenizerPlan(
        kind="extend",
        path=base,
        size=arguments.vocabulary or 2 * _pieces(base),
        script=arguments.script,
        base_texts=_base_texts(arguments.base_texts),
        base_language=arguments.base_language,
    )


def _pieces(base: Path) -> int:
    from unbroken_tts.prepare.plan import TokenizerPlan
    from unbroken_tts.prepare.tokenizers import processor

    model = TokenizerPlan(kind="existing", path=base).read()
    return int(processor(model).GetPieceSize())


def _plan(arguments: argparse.Namespace) -> PreparePlan:
    from unbroken_tts.model.config import GptConfig
    from unbroken_tts.prepare.plan import PreparePlan

    return PreparePlan(
        tokenizer=_tokenizer_plan(arguments),
        config=GptConfig.from_yaml(arguments.config),
        language=arguments.language,
        audio_dir=arguments.audio_dir,
        codec=None if arguments.codec == "melvq" else Path(arguments.codec),
        val_ratio=arguments.val_ratio,
        pairs_per_target=arguments.pairs_per_target,
        on_bad=arguments.on_bad,
    )


def run(arguments: argparse.Namespace) -> int:
    """Prepare; print what was made; return the exit code.

    Raises:
        UnbrokenError: Whatever is the user's to mend.
    """
    source, plan = _source(arguments), _plan(arguments)

    from unbroken import progress_bars
    from unbroken_tts.prepare.pipeline import prepare

    with progress_bars(stays=True) as stages:
        summary = prepare(source, arguments.output, plan, stages=stages)
    # A console of a few hundred letters must not end the work with an encoding error.
    encoding = sys.stdout.encoding or "utf-8"
    print(summary.text().encode(encoding, errors="replace").decode(encoding))
    return 0
