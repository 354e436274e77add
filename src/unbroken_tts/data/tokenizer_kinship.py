"""Compares two tokenizers piece by piece: what does each id of the one stand for in the other?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unbroken_tts.data.tokenizer import Tokenizer

SPACE = "\u2581"


@dataclass(frozen=True)
class Kinship:
    """What a tokenizer has of its base. Two pieces are the same in spelling and kind."""

    base: Tokenizer
    new: Tokenizer

    @cached_property
    def same(self) -> int:
        """Number of first ids that stand for the same piece in both."""
        pairs = zip(self._named(self.base), self._named(self.new), strict=False)
        return next(
            (number for number, (ours, theirs) in enumerate(pairs) if ours != theirs),
            min(self.base.vocabulary, self.new.vocabulary),
        )

    @cached_property
    def sources(self) -> tuple[int | None, ...]:
        """For each id of the new tokenizer the base's id of the same piece, if it has one."""
        by_name = {name: number for number, name in enumerate(self._named(self.base))}
        return tuple(by_name.get(name) for name in self._named(self.new))

    @property
    def is_extension(self) -> bool:
        """Whether the new tokenizer begins with all pieces of the base."""
        return self.same == self.base.vocabulary

    def first_difference(self) -> str:
        """Return the first id that stands for something else, with both pieces."""
        number = self.same
        if number >= self.new.vocabulary:
            return f"it ends at id {number - 1}, the base at {self.base.vocabulary - 1}"
        ours, theirs = self._named(self.base)[number], self._named(self.new)[number]
        if ours[0] != theirs[0]:
            return f"id {number} is {theirs[0]!r}, in the base {ours[0]!r}"
        return f"id {number}, {ours[0]!r}, is of the kind {theirs[1]}, in the base {ours[1]}"

    def spelling(self, piece: str) -> list[int]:
        """Return the base's ids that spelt the text of a new piece, without `<unk>`.

        A new token of IndexTTS-2.5 that is only part of a letter has no text, and so none.
        """
        if self.base.languages and "<0x" in piece:
            return []
        ids = self.base.encode(piece.replace(SPACE, " "))
        if not piece.startswith(SPACE) and ids and self.base.pieces[ids[0]] == SPACE:
            ids = ids[1:]  # SentencePiece begins every text with a blank
        return [number for number in ids if number != self.base.unknown_id]

    @staticmethod
    def _named(tokenizer: Tokenizer) -> list[tuple[str, str]]:
        return list(zip(tokenizer.pieces, tokenizer.kinds, strict=True))
