"""What a tokenizer is to the rest of the program, whatever kind of file it was read from.

Training only needs its number of pieces; its digest is a fact of the run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path


class Tokenizer(ABC):
    """Turns texts into ids and back; `open_tokenizer` makes one from a file."""

    kind: str
    """`unigram`, `bpe`, `word` or `char` of SentencePiece, or `tiktoken`."""
    normaliser: str
    """Name of the normalisation that it applies itself."""
    path: Path
    """Path of the file; not part of the tokenizer's identity."""
    vocabulary: int
    """Number of pieces V; ids are in [0, V)."""
    unknown_id: int
    """Id of text that no piece covers; -1 if there is none."""
    pieces: tuple[str, ...]
    """The pieces by id; U+2581 stands for a space."""
    kinds: tuple[str, ...]
    """The kinds by id: `normal`, `unknown`, `control`, `user_defined`, `unused` or `byte`."""
    scores: tuple[float, ...] = ()
    """The scores by id, which decide how a text is cut; none where the order of the ids does."""
    digest: str
    """BLAKE2b-128 hex over everything that makes ids, independent of the path."""
    languages: tuple[str, ...] = ()
    """Languages with a token of their own, which every text begins with; none of most tokenizers."""
    first_language_id: int = -1
    """Id of the first of these tokens; the others follow in the order of `languages`."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, each in [0, vocabulary), without start and stop.

        The text is not normalised; that is up to the caller.
        """

    def cut(self, text: str) -> list[str]:
        """Return the pieces of a text; where there is none, the characters themselves."""
        return [self.pieces[number] for number in self.encode(text)]

    def normalised(self, text: str) -> str:
        """Return a text as the tokenizer's own normalisation leaves it."""
        return text

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids in [0, vocabulary); start and stop ids are dropped."""

    @abstractmethod
    def first_text_id(self, reserved: AbstractSet[int]) -> int:
        """Return the first id that a text may contain.

        Args:
            reserved: The ids of start and stop.
        """
