"""The command `unbroken-tts prepare`: its flags and its help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unbroken import DataInvalid, SettingsInvalid

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser
    from unbroken_tts.prepare.indextts import Encoders, IndexTtsFiles
    from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan

DESCRIPTION: Final = """\
Turn recordings and their texts into training data: text ids, codes, conditioning, emotion vectors,
pairs, and manifests for training and validation.

SOURCE is a metadata.csv in the format of LJSpeech (id|text|normalised text|speaker|language, with
the recordings in wavs/ beside it), a .jsonl file (id, audio, text, speaker, language), or a
directory that contains one.

To add a language to an existing tokenizer (the old ids are verified to stay the same):

  unbroken-tts prepare recordings/metadata.csv --output preprocessed_amharic \\
    --extend-tokenizer tokenizers/base_bpe.model --vocabulary 24000

For the real IndexTTS2, 2.0 or 2.5, name its folder: its own encoders then make codes and
conditioning.

  unbroken-tts prepare recordings/metadata.csv --output preprocessed_amharic \\
    --indextts index-tts/checkpoints --extend-tokenizer index-tts/checkpoints/bpe.model

After an interruption or a kill, the same command continues where it stopped. New lines in SOURCE
are added; codec and tokenizer then stay as they are."""

EPILOG: Final = """\
The tokenizer is written to OUTPUT/tokenizer.model, the embedded codec to OUTPUT/codec. Nothing is
overwritten in a directory that this command did not make. Exit codes: `unbroken-tts --help`."""


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
    _add_encoders(parser)
    _add_tokenizer(parser)
    _add_choices(parser)
    parser.set_defaults(run=run)


def _add_inputs(parser: Parser) -> None:
    group = parser.add_argument_group("input and output")
    group.add_argument(
        "source", nargs="?", type=Path, metavar="SOURCE", help="the list of recordings"
    )
    group.add_argument(
        "--metadata", type=Path, metavar="FILE", help="the same as SOURCE, as a flag"
    )
    group.add_argument(
        "--audio-dir", type=Path, metavar="DIR", help="directory of the recordings [the list's]"
    )
    group.add_argument("--output", type=Path, required=True, metavar="DIR", help="the data set")
    group.add_argument(
        "--language", default="am", help="language of lines that don't name one [%(default)s]"
    )
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the model that the data is for: widths and limits [that of --indextts, or "
        "checkpoints/config.yaml]",
    )


def _add_encoders(parser: Parser) -> None:
    group = parser.add_argument_group("encoders of the real IndexTTS2")
    group.add_argument(
        "--indextts",
        type=Path,
        metavar="DIR",
        help="folder of IndexTTS2 (config.yaml, gpt.pth, wav2vec2bert_stats.pt): make codes and "
        "conditioning with its encoders",
    )
    group.add_argument(
        "--w2v-bert", type=Path, metavar="DIR", help="w2v-bert-2.0, if it isn't in that folder"
    )
    group.add_argument(
        "--semantic-codec",
        type=Path,
        metavar="FILE",
        help="semantic codec of MaskGCT, or codec.pth of 2.5, if it isn't in that folder",
    )
    group.add_argument(
        "--device",
        default="auto",
        help="where to compute them: cpu, cuda, cuda:1 ... [auto: a card if there is one]",
    )


def _add_tokenizer(parser: Parser) -> None:
    group = parser.add_argument_group("tokenizer (one of the first three)")
    group.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FILE",
        help="use this one as it is: a SentencePiece model, or the .tiktoken file of IndexTTS-2.5",
    )
    group.add_argument(
        "--extend-tokenizer",
        type=Path,
        metavar="BASE",
        help="extend this one with pieces of the new script",
    )
    group.add_argument(
        "--train-tokenizer", type=int, metavar="SIZE", help="train one with SIZE pieces"
    )
    group.add_argument(
        "--vocabulary",
        type=int,
        metavar="SIZE",
        help="number of pieces after --extend-tokenizer [twice the base's]",
    )
    group.add_argument(
        "--script",
        default="Ethiopic",
        help="the new script: the first word of its letters' Unicode names [%(default)s]",
    )
    group.add_argument(
        "--base-texts",
        type=Path,
        metavar="FILE",
        help="texts in the old language, one per line, whose ids are verified not to change "
        "[built-in English sentences]",
    )
    group.add_argument(
        "--base-language", default="en", help="language of --base-texts [%(default)s]"
    )


def _add_choices(parser: Parser) -> None:
    group = parser.add_argument_group("other options")
    group.add_argument(
        "--codec",
        metavar="melvq|DIR",
        help="without --indextts: fit the embedded codec, or use a saved one [melvq]",
    )
    group.add_argument(
        "--front",
        choices=["unbroken", "indextts", "indextts-am", "indextts-2.5"],
        default="unbroken",
        help="text front end: this project's rules, which an export carries along, or those of the "
        "unchanged inference program, IndexTTS2, its Amharic fork, or IndexTTS-2.5 [%(default)s]",
    )
    group.add_argument(
        "--val-ratio",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="share of the utterances to hold back for validation [%(default)s]",
    )
    group.add_argument(
        "--pairs-per-target",
        type=int,
        default=2,
        metavar="N",
        help="number of prompts of the same speaker for each target [%(default)s]",
    )
    group.add_argument(
        "--on-bad",
        choices=["stop", "drop"],
        default="stop",
        help="unusable recordings: list them all and stop, or omit them [%(default)s]",
    )


def _source(arguments: argparse.Namespace) -> Path:
    if (arguments.source is None) == (arguments.metadata is None):
        given = "The command has both" if arguments.source else "The command has neither"
        raise SettingsInvalid(
            f"{given} SOURCE and --metadata.",
            "They are two ways to name the list of recordings.",
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
            f"The texts in the old language, {path}, can't be read ({error}).",
            "They are needed to verify that the extension doesn't change their ids.",
            "Name a UTF-8 text file with one text per line with --base-texts.",
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
            "A data set has the text ids of exactly one tokenizer.",
            "Give one of the three.",
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
    from unbroken_tts.model.config import GptConfig, code_book_of
    from unbroken_tts.prepare.plan import PreparePlan

    config = arguments.config or (arguments.indextts or Path("checkpoints")) / "config.yaml"
    return PreparePlan(
        tokenizer=_tokenizer_plan(arguments),
        config=GptConfig.from_yaml(config),
        code_book=code_book_of(config),
        language=arguments.language,
        front=arguments.front,
        audio_dir=arguments.audio_dir,
        codec=None if arguments.codec in (None, "melvq") else Path(arguments.codec),
        val_ratio=arguments.val_ratio,
        pairs_per_target=arguments.pairs_per_target,
        on_bad=arguments.on_bad,
    )


def _files(arguments: argparse.Namespace) -> IndexTtsFiles | None:
    """Return the files of --indextts, which are looked for now; None without it."""
    if arguments.indextts is None:
        alone = [name for name in ("w2v_bert", "semantic_codec") if getattr(arguments, name)]
        if alone:
            raise SettingsInvalid(
                f"--{alone[0].replace('_', '-')} was given without --indextts.",
                "It is one of the files that features of the real model are made with.",
                "Name the folder of IndexTTS2 with --indextts too.",
            )
        return None
    if arguments.codec is not None:
        raise SettingsInvalid(
            f"--codec {arguments.codec} and --indextts {arguments.indextts} were both given.",
            "A data set has the codes of exactly one codec.",
            "Omit --codec for features of the real model.",
        )
    from unbroken_tts.prepare.indextts import find_files

    return find_files(
        arguments.indextts,
        speech_model=arguments.w2v_bert,
        semantic_codec=arguments.semantic_codec,
    )


def _with_encoders(
    arguments: argparse.Namespace, plan: PreparePlan
) -> tuple[PreparePlan, Callable[[], Encoders] | None]:
    """Return the plan for the model of --indextts, and what opens its encoders."""
    files = _files(arguments)
    if files is None:
        return plan, None
    from unbroken_tts.prepare.indextts import open_encoders

    config = files.config_for(plan.config)
    plan = replace(plan, config=config)
    return plan, lambda: open_encoders(files, config, device=arguments.device)


def run(arguments: argparse.Namespace) -> int:
    """Prepare the data; print a summary; return the exit code.

    Raises:
        UnbrokenError: An input is missing or unusable, or the output can't be written.
    """
    source = _source(arguments)
    plan, encoders = _with_encoders(arguments, _plan(arguments))

    from unbroken_tts.cli.stages import stage_lines
    from unbroken_tts.prepare.pipeline import prepare

    with stage_lines() as stages:
        summary = prepare(source, arguments.output, plan, encoders=encoders, stages=stages)
    # A console with a small character set must not end the work with an encoding error.
    encoding = sys.stdout.encoding or "utf-8"
    print(summary.text().encode(encoding, errors="replace").decode(encoding))
    return 0
