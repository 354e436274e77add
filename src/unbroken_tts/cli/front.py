"""The command `unbroken-tts front`: does an inference folder read texts as the training did?"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken import SettingsInvalid

if TYPE_CHECKING:
    from unbroken_tts.cli.main import Parser
    from unbroken_tts.export.inference_folder import TrainedText
    from unbroken_tts.prepare.front_comparison import FrontComparison, Side

DESCRIPTION: Final = """\
Measure how many texts get the ids in an inference program that they got in the training, and name
why the others don't. DIR is an exported folder, or any folder of IndexTTS2 with a tokenizer.

  unbroken-tts front checkpoints_am --texts sentences.txt

Nothing is executed in DIR: the programs' own rules are followed (as `prepare --front` does)."""

PROGRAMS: Final = {"indextts": "IndexTTS2 as it is", "indextts-am": "its Amharic fork"}
PROGRAMS_25: Final = {"indextts-2.5": "IndexTTS-2.5 as it is"}
"""Of a folder with the vocabulary of 2.5."""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "front",
        help="measure whether inference reads texts as the training did",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="an inference folder")
    parser.add_argument(
        "--texts", metavar="FILE", type=Path, required=True, help="texts to compare, one a line"
    )
    parser.add_argument(
        "--training",
        metavar="RUN|FEATURES",
        type=Path,
        help="what made the ids of the training [DIR's provenance.json]",
    )
    parser.add_argument(
        "--front",
        choices=["unbroken", "indextts", "indextts-am", "indextts-2.5"],
        help="text front end of the training, where nothing tells it",
    )
    parser.add_argument("--language", help="language of the texts [the training's]")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print; return the exit code.

    Raises:
        UnbrokenError: A file is missing or damaged, or nothing tells how the training read texts.
    """
    from unbroken_tts.cli.texts import lines_of
    from unbroken_tts.export.hook import LANGUAGES, language_of, spoken_form
    from unbroken_tts.export.inference_folder import carries_front, tokenizer_in
    from unbroken_tts.prepare.front_comparison import Side, compare_fronts
    from unbroken_tts.prepare.fronts import front_end, require_fitting

    if not arguments.folder.is_dir():
        raise SettingsInvalid(
            f"{arguments.folder} is not a folder.",
            "It is to hold the tokenizer of the inference program.",
            "Name an exported folder, or the folder of IndexTTS2 with config.yaml and bpe.model.",
        )
    texts = lines_of(arguments.texts)
    trained = _trained(arguments)
    there = tokenizer_in(arguments.folder)
    require_fitting(trained.rules.front, trained.tokenizer)

    languages = (arguments.language,) if arguments.language else trained.rules.languages

    def read_by(name: str) -> Any:
        return lambda text: front_end(text, language_of(text, languages or LANGUAGES), name)

    training = Side(front=read_by(trained.rules.front), tokenizer=trained.tokenizer)
    programs: dict[str, Side] = {}
    if carries_front(arguments.folder, trained.rules):
        own = partial(spoken_form, languages=trained.rules.languages or LANGUAGES)
        programs["either of them, with unbroken_front.py"] = Side(front=own, tokenizer=there)
    for name, title in (PROGRAMS_25 if there.languages else PROGRAMS).items():
        programs[title] = Side(front=read_by(name), tokenizer=there)
    found = {title: compare_fronts(texts, training, side) for title, side in programs.items()}
    if arguments.json:
        print(json.dumps({title: _numbers(each) for title, each in found.items()}))
        return 0
    rules = trained.rules
    print(f"{len(texts)} texts; the training read them by the front end {rules.front}, ", end="")
    print(f"version {rules.scheme}.")
    for title, each in found.items():
        _tell(title, each)
    return 0


def _trained(arguments: argparse.Namespace) -> TrainedText:
    from unbroken_tts.export.inference_folder import (
        TrainedText,
        tokenizer_in,
        trained_by,
        trained_in,
    )
    from unbroken_tts.prepare.fronts import TextRules

    if arguments.front is not None:
        rules = TextRules.named(arguments.front, [arguments.language or "am"])
        if arguments.training is None:
            return TrainedText(rules=rules, tokenizer=tokenizer_in(arguments.folder))
        return TrainedText(rules=rules, tokenizer=trained_by(arguments.training).tokenizer)
    if arguments.training is not None:
        return trained_by(arguments.training)
    found = trained_in(arguments.folder)
    if found is None:
        raise SettingsInvalid(
            f"{arguments.folder} doesn't say how the training read texts.",
            "It has no provenance.json of an export, or that names no rules.",
            "Name an exported folder (`unbroken-tts export RUN DIR`); or the run or the prepared data "
            "with --training, or the rules with --front.",
        )
    return found


def _numbers(found: FrontComparison) -> dict[str, Any]:
    return {
        "texts": found.texts,
        "equal": found.equal,
        "newly_unknown": found.newly_unknown,
        "reasons": dict(found.reasons.most_common()),
        "characters": dict(found.characters.most_common()),
    }


def _tell(title: str, found: FrontComparison) -> None:
    from unbroken import legible

    def show(line: str) -> None:
        print(legible(line, sys.stdout.encoding))

    share = 100 * found.equal / found.texts
    print()
    show(f"{title}: equal ids in {found.equal} of {found.texts} texts ({share:.0f} %)")
    if found.newly_unknown:
        letters = " ".join(f"{each} ({count})" for each, count in found.characters.most_common(12))
        show(f"  pieces unknown only there in {found.newly_unknown}: {letters}")
    for reason, count in found.reasons.most_common():
        show(f"  {reason}: {count}")
    for typed, trained, read in found.examples[:2]:
        show(f"  for example {typed}")
        show(f"      trained {trained}")
        show(f"      there   {read}")
