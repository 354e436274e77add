"""Tells whether a tokenizer is the one that some manifests were made with.

Ids outside the vocabulary are the preflight's to find. Here a handful of texts is decoded: with
another tokenizer of the same size the ids are valid, and every one of them means something else.
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
"""Texts looked at, spread evenly over the manifests."""
FEWEST_TEXTS = 4
"""With fewer comparable texts nothing is concluded: one text "5" may well be stored for "FIVE"."""
LIKENESS = 0.6
"""Likeness from which a decoded text is taken for the stored one.

On text stored as it was encoded it is 1.0, on short Amharic sentences stored before homophone
folding 0.7 to 1.0, with permuted pieces 0.0 to 0.4.
"""
UNKNOWN_SHARE = 1 / 8
"""A text with a larger share of unknown ids is passed over: too little of it can be decoded."""
REPRODUCED = 0.9
"""Share of reproduced texts from which stored texts may be as unlike as they want (they may be
transliterated): the right tokenizer reproduces all but those cut apart before encoding, a
tokenizer with permuted pieces a tenth, one whose extension alone is permuted up to a half.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerMatch:
    """How many texts were compared, and how many speak for the tokenizer."""

    compared: int
    """Texts that could be compared; 0 where the manifests carry none."""
    agreeing: int
    """Of these, how many decode to about the stored text."""
    reproducible: int
    """Of those compared, how many hold no unknown id, which decodes to nothing that is one."""
    reproduced: int
    """Of the reproducible, how many decode to a text that encodes to the same ids again."""

    @property
    def belongs(self) -> bool:
        """Whether nothing speaks against the tokenizer."""
        if self.compared < FEWEST_TEXTS:
            return True
        if 2 * self.agreeing >= self.compared:
            return True
        is_telling = self.reproducible >= FEWEST_TEXTS
        return is_telling and self.reproduced >= REPRODUCED * self.reproducible


def check_matches(pairs: Pairs, tokenizer: Tokenizer) -> TokenizerMatch:
    """Compare stored texts with what the tokenizer makes of their ids.

    Two things are counted: whether the ids decode to about the stored text (true however the text
    was cut before it was encoded) and whether the decoded text encodes to the same ids again (true
    however it was normalised). For the right tokenizer at least one holds for nearly all texts.

    Args:
        pairs: Samples, preferably checked; those without a stored text are passed over, and so
            are texts of which the tokenizer doesn't know much.
        tokenizer: The tokenizer in question.

    Raises:
        DataInvalid: At least `FEWEST_TEXTS` texts could be compared, less than half agree and
            less than `REPRODUCED` of the reproducible ones are reproduced.
    """
    outcomes: Counter[str] = Counter()
    example = ""
    for index in _spread(pairs):
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
            f"{match.compared} texts {match.agreeing} decode to what is stored and "
            f"{match.reproduced} of {match.reproducible} encode to the same ids again ({example}).",
            "Every text id would mean another piece, and the model would learn nonsense.",
            "Name the tokenizer the manifests were made with, or prepare the data again.",
        )
    return match


def likeness(left: str, right: str) -> float:
    """Return 0 to 1: the share of common neighbouring letters (Dice coefficient of bigrams).

    Letters and digits count, after NFKC and case folding; blanks, punctuation and marks don't.
    """
    ours, theirs = _bigrams(left), _bigrams(right)
    total = ours.total() + theirs.total()
    return 2 * (ours & theirs).total() / total if total else 1.0


def _spread(pairs: Pairs) -> list[int]:
    """Return the samples to compare: with a text, each text file once, evenly spread."""
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
    """Return what counts a text adds to and the decoded text; None where it is no witness."""
    try:
        array, _ = read_array(pairs.text_paths[index])
    except ArrayUnusable:
        return None  # the preflight's to report
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
