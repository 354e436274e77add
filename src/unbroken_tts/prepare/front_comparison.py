"""Compares what two text front ends give to the tokenizer, and names why they differ."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from unbroken import DataInvalid
from unbroken_tts.prepare.amharic import fold_homophones

if TYPE_CHECKING:
    from unbroken_tts.data.tokenizer import Tokenizer

MARKS: Final = "marks"
DIGITS: Final = "digits and numerals"
CAPITALS: Final = "capital letters"
HOMOPHONES: Final = "letters that sound alike"
SHORT: Final = "abbreviations"
INVISIBLE: Final = "invisible or composed characters"
OTHER: Final = "other words"
TOKENIZER: Final = "the tokenizer"
NOT_FOLLOWED: Final = "can't be followed here"
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A front end with its tokenizer."""

    front: Callable[[str], str]
    """Returns what is encoded; raises `DataInvalid` where that can't be told."""
    tokenizer: Tokenizer
    """Encodes it."""


@dataclass(slots=True)
class FrontComparison:
    """How the ids of an inference program differ from those of the training."""

    texts: int = 0
    """Texts that were compared."""
    equal: int = 0
    """Texts with equal ids."""
    newly_unknown: int = 0
    """Texts with unknown pieces where the training had none."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Number of texts by why they differ; a text may have several reasons."""
    characters: Counter[str] = field(default_factory=Counter)
    """Number of texts by the character that is unknown to the program only."""
    examples: list[tuple[str, str, str]] = field(default_factory=list)
    """Some texts that differ: as typed, as trained, as the program reads it."""


def compare_fronts(texts: Sequence[str], training: Side, program: Side) -> FrontComparison:
    """Compare the ids of every text.

    Args:
        texts: As a user would type them.
        training: What made the ids of the training.
        program: What makes those of the inference program.

    Returns:
        Texts that one of the two can't read are counted as different, under `NOT_FOLLOWED`.
    """
    found = FrontComparison()
    for text in texts:
        found.texts += 1
        trained = "(not read)"
        try:
            trained = training.front(text)
            read = program.front(text)
        except DataInvalid as error:
            found.reasons[NOT_FOLLOWED] += 1
            _keep(found, text, trained, error.what)
            continue
        _compare(found, text, (trained, read), training.tokenizer, program.tokenizer)
    return found


def _compare(
    found: FrontComparison,
    text: str,
    forms: tuple[str, str],
    training: Tokenizer,
    program: Tokenizer,
) -> None:
    trained, read = forms
    before, now = training.encode(trained), program.encode(read)
    if before == now:
        found.equal += 1
        return
    found.reasons.update(_reasons(trained, read))
    if program.unknown_id in now and training.unknown_id not in before:
        found.newly_unknown += 1
        found.characters.update(unknown_characters(read, program))
    _keep(found, text, trained, read)


def _keep(found: FrontComparison, text: str, trained: str, read: str) -> None:
    if len(found.examples) < _SHOWN:
        found.examples.append((text, trained, read))


def unknown_characters(text: str, tokenizer: Tokenizer) -> str:
    """Return the characters of a text for which the tokenizer has no piece, sorted, each once."""
    letters = sorted(set(text) - {" "})
    return "".join(each for each in letters if tokenizer.unknown_id in tokenizer.encode(each))


def _reasons(trained: str, read: str) -> set[str]:
    """Return why two forms of a text differ, by the words that differ."""
    if trained == read:
        return {TOKENIZER}
    ours, theirs = trained.split(), read.split()
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    found = {
        _reason(" ".join(ours[a:b]), " ".join(theirs[c:d]))
        for kind, a, b, c, d in matcher.get_opcodes()
        if kind != "equal"
    }
    return found or {INVISIBLE}


def _reason(trained: str, read: str) -> str:
    if _letters(trained) == _letters(read):
        return MARKS
    if any(_is_number(character) for character in read):
        return DIGITS
    if _letters(trained) == _letters(fold_homophones(read)):
        return HOMOPHONES
    if _letters(trained).casefold() == _letters(read).casefold():
        return CAPITALS
    inner = read.strip(".,;:!?'\"")
    if "/" in inner or "." in inner:
        return SHORT
    if _letters(trained) == _letters(fold_homophones(unicodedata.normalize("NFKC", read))):
        return INVISIBLE
    return OTHER


def _letters(text: str) -> str:
    return "".join(each for each in text if unicodedata.category(each)[0] in "LMN")


def _is_number(character: str) -> bool:
    """Return whether a character is a digit, a numeral, or Chinese (as digits are read)."""
    is_chinese = "\u4e00" <= character <= "\u9fff"
    return is_chinese or unicodedata.category(character)[0] == "N"
