"""Checks whether manifests were made with a given tokenizer.

The preflight finds ids outside the vocabulary. With another tokenizer of the same size all ids are
valid but stand for other pieces; so some texts are decoded here and compared with the stored ones.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unbroken import DataInvalid
from unbroken_tts.data.npy import ArrayUnusable, read_array

if TYPE_CHECKING:
    from unbroken_tts.data.pairs import Pairs
    from unbroken_tts.data.tokenizer import Tokenizer

COMPARED_TEXTS = 64
"""Number of texts to compare, spread evenly over the manifests."""
FEWEST_TEXTS = 4
"""With fewer comparable texts nothing is concluded: a single "5" may be stored for "FIVE"."""
LIKENESS = 0.6
"""Likeness from which a decoded text counts as the stored one.

It is 1.0 for text stored as it was encoded, 0.7 to 1.0 for short Amharic sentences stored before
homophone folding, 0.0 to 0.4 with permuted pieces.
"""
UNKNOWN_SHARE = 1 / 8
"""A text with a larger share of unknown ids is skipped: too little of it can be decoded."""
REPRODUCED = 0.9
"""Share of reproduced texts from which the stored texts needn't be alike (they may be
transliterated). The right tokenizer reproduces all texts except those split before encoding, a
tokenizer with permuted pieces a tenth, one with only its extension permuted up to a half.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerMatch:
    """The numbers of texts that were compared and that agree."""

    compared: int
    """Texts that could be compared; 0 if the manifests contain none."""
    agreeing: int
    """Of these, the texts that decode to about the stored text."""
    reproducible: int
    """Of those compared, the texts without unknown ids, which can't be reproduced."""
    reproduced: int
    """Of the reproducible, the texts that encode to the same ids again."""

    @property
    def belongs(self) -> bool:
        """Whether the texts agree with the tokenizer."""
        if self.compared < FEWEST_TEXTS:
            return True
        if 2 * self.agreeing >= self.compared:
            return True
        is_telling = self.reproducible >= FEWEST_TEXTS
        return is_telling and self.reproduced >= REPRODUCED * self.reproducible


def check_matches(pairs: Pairs, tokenizer: Tokenizer) -> TokenizerMatch:
    """Compare stored texts with their decoded ids.

    Two things are counted: texts whose ids decode to about the stored text (however it was split
    before encoding), and texts that encode to the same ids again (however they were normalised).
    For the right tokenizer at least one holds for nearly all texts.

    Args:
        pairs: Samples, preferably checked; those without a stored text are skipped, and so are
            texts with too many unknown ids.
        tokenizer: The tokenizer in question.

    Raises:
        DataInvalid: At least `FEWEST_TEXTS` texts could be compared, less than half of them agree,
            and less than `REPRODUCED` of the reproducible ones are reproduced.
    """
    outcomes: Counter[str] = Counter()
    example = ""
    for index in spread(pairs):
        compared = _compare(pairs, index, tokenizer)
        if compared is None:
            continue
        found, decoded = compared
        outcomes.update(["compared", *found])
        if "agreeing" not in found and not example:
            example = (
                f"{pairs.where(index)} stores {pairs.texts[index]!r:.80}, decoded {decoded!r:.80}"
            )
    match = TokenizerMatch(
        compared=outcomes["compared"],
        agreeing=outcomes["agreeing"],
        reproducible=outcomes["reproducible"],
        reproduced=outcomes["reproduced"],
    )
    if not match.belongs:
        raise DataInvalid(
            f"The tokenizer {tokenizer.path} doesn't belong to these manifests: of "
            f"{match.compared} texts {match.agreeing} decode to the stored text and "
            f"{match.reproduced} of {match.reproducible} encode to the same ids again ({example}).",
            "Every text id would stand for another piece, and the model would learn nonsense.",
            "Name the tokenizer the manifests were made with, or prepare the data again.",
        )
    return match


def likeness(left: str, right: str) -> float:
    """Return the Dice coefficient of the bigrams of two texts, in [0, 1].

    Letters and digits count, after NFKC and case folding; blanks, punctuation and marks don't.
    """
    ours, theirs = _bigrams(left), _bigrams(right)
    total = ours.total() + theirs.total()
    return 2 * (ours & theirs).total() / total if total else 1.0


def spread(pairs: Pairs) -> list[int]:
    """Return up to `COMPARED_TEXTS` samples: evenly spread, with a text, each array of ids once."""
    by_file = {
        path: index
        for index, (path, text) in enumerate(zip(pairs.text_paths, pairs.texts, strict=True))
        if text
    }
    candidates = list(by_file.values())
    count = min(COMPARED_TEXTS, len(candidates))
    chosen = np.linspace(0, len(candidates) - 1, count).round().astype(int)
    return [candidates[position] for position in chosen.tolist()]


def _compare(pairs: Pairs, index: int, tokenizer: Tokenizer) -> tuple[list[str], str] | None:
    """Return the counts that a text adds to, and the decoded text; None if it can't be compared."""
    try:
        array, _ = read_array(pairs.text_paths[index])
    except ArrayUnusable:
        return None  # the preflight reports it
    ids: list[int] = array.reshape(-1).astype(np.int64).tolist()
    if any(not 0 <= token < tokenizer.vocabulary for token in ids):
        return None  # likewise
    unknown = ids.count(tokenizer.unknown_id)
    if unknown > UNKNOWN_SHARE * len(ids):
        return None
    decoded = tokenizer.decode(ids)
    found = []
    if likeness(decoded, pairs.texts[index] or "") >= LIKENESS:
        found.append("agreeing")
    if not unknown:
        found.append("reproducible")
        if tokenizer.encode(decoded) == ids:
            found.append("reproduced")
    return found, decoded


def _bigrams(text: str) -> Counter[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = f" {''.join(character for character in folded if character.isalnum())} "
    return Counter(map(str.__add__, letters, letters[1:]))
