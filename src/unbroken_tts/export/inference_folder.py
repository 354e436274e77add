"""Reads what makes text ids in a folder of IndexTTS2: its tokenizer, its front end, its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken import DataInvalid, SettingsInvalid, find_checkpoint
from unbroken_tts.data.open_tokenizer import open_tokenizer, places_by
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.export.folder import CONFIG, PROVENANCE
from unbroken_tts.export.front_file import NAME, front_file
from unbroken_tts.export.ingredients import languages_in, text_rules_of
from unbroken_tts.prepare.fronts import TextRules, rules_of_data
from unbroken_tts.train.kept_files import kept_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedText:
    """What made the text ids of a training."""

    rules: TextRules
    tokenizer: Tokenizer


def tokenizer_in(folder: Path) -> Tokenizer:
    """Return the tokenizer of an inference folder: the one that its configuration names.

    Where the configuration names none, or can't be read, it is `bpe.model`, the name in IndexTTS2's folder;
    that of IndexTTS-2.5 has a name of its own.

    Raises:
        DataInvalid: There is none, or it is damaged.
    """
    places = [*places_by(folder / CONFIG), folder / "bpe.model"]
    return open_tokenizer(next((place for place in places if place.is_file()), places[0]))


def trained_in(folder: Path) -> TrainedText | None:
    """Return what an exported folder's record says of the training; None without a record.

    Raises:
        DataInvalid: The record is damaged.
        SettingsInvalid: This version has other rules of the name.
    """
    try:
        record = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataInvalid(
            f"{folder / PROVENANCE} is damaged: {error}.",
            "It says which rules made the text ids of the training.",
            "Export the folder again, or name the run with --training.",
        ) from error
    rules = TextRules.of_record(record.get("text_rules") if isinstance(record, Mapping) else None)
    if rules is None:
        return None
    rules.require_of_today()
    return TrainedText(rules=rules, tokenizer=tokenizer_in(folder))


def trained_by(source: Path) -> TrainedText:
    """Return what made the text ids of a run, or of a folder of prepared data.

    Raises:
        DataInvalid: The tokenizer is missing or damaged.
        SettingsInvalid: It is neither, or doesn't say which rules it has.
    """
    if (source / "prepare.json").is_file():
        rules = rules_of_data(source, languages_in(source / "train_pairs.jsonl"))
        tokenizer = source / "tokenizer.model"
    else:
        facts: dict[str, Any] = find_checkpoint(source).facts()
        rules = text_rules_of(facts)
        kept = kept_tokenizer(source)
        tokenizer = kept if kept.is_file() else Path(facts["sources"]["tokenizer"])
    if rules is None:
        raise SettingsInvalid(
            f"{source} doesn't say which rules made its text ids.",
            "Its data was prepared by another tool, or by an early version of this one.",
            "Name the rules with --front.",
        )
    return TrainedText(rules=rules, tokenizer=open_tokenizer(tokenizer))


def carries_front(folder: Path, rules: TextRules) -> bool:
    """Return whether a folder has the front end of these rules, unchanged.

    The file is compared, never executed.
    """
    try:
        return (folder / NAME).read_text(encoding="utf-8") == front_file(rules)
    except (OSError, UnicodeDecodeError):
        return False
