"""Says how two tokenizers differ: which ids, and which texts they cut otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.data.tokenizer_kinship import Kinship

_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOtherwise:
    """A text that two tokenizers cut otherwise."""

    text: str
    a: str
    """The pieces of the first, with blanks between them."""
    b: str
    """The pieces of the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerDifference:
    """How a tokenizer B differs from a tokenizer A. Pieces are compared by spelling and kind."""

    a_size: int
    b_size: int
    same: int
    """First ids that stand for the same piece in both."""
    is_extension: bool
    """Whether B begins with all pieces of A, and with their scores."""
    first_difference: str
    """The first id that differs, with both pieces; empty where there is none."""
    other_scores: int
    """Of the first ids that are the same, those with another score: texts may be cut otherwise."""
    changed_ids: int
    """Ids of both that stand for different pieces."""
    only_a: list[str]
    """Pieces that B doesn't have."""
    only_b: list[str]
    """Pieces that A doesn't have."""
    texts: int
    """Texts compared."""
    cut_otherwise: list[CutOtherwise]
    """Of these, the texts whose ids differ."""

    @property
    def old_ids_stay(self) -> bool:
        """Whether B is A or extends it, and cuts every text as A does."""
        return self.is_extension and not self.cut_otherwise

    def text(self) -> str:
        """Return the difference as lines of text."""
        if self.is_extension:
            more = self.b_size - self.a_size
            said = f"yes, by {more} pieces" if more else "they have the same pieces and scores"
        else:
            said = f"no: {self.first_difference or f'{self.other_scores} scores differ'}"
        lines = [
            f"Pieces     A {self.a_size}, B {self.b_size}; the first {self.same} are the same",
            f"B extends A: {said}",
        ]
        if not self.is_extension:
            lines.append(f"Ids        {self.changed_ids} stand for different pieces")
        if self.other_scores and self.first_difference:
            lines.append(f"Scores     {self.other_scores} differ")
        for name, pieces in (("A", self.only_a), ("B", self.only_b)):
            if pieces:
                lines.append(f"Only in {name}  {len(pieces)}: {_some(pieces)}")
        if self.texts:
            other = len(self.cut_otherwise)
            lines.append(f"Texts      {self.texts} compared, {other} are cut otherwise")
        for each in self.cut_otherwise[:_SHOWN]:
            lines += [f"  {each.text}", f"    A: {each.a}", f"    B: {each.b}"]
        return "\n".join(lines)


def _some(pieces: Sequence[str]) -> str:
    more = len(pieces) - _SHOWN
    return " ".join(pieces[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def difference(a: Tokenizer, b: Tokenizer, texts: Sequence[str] = ()) -> TokenizerDifference:
    """Compare two tokenizers by their pieces, and by how they cut texts.

    Args:
        a: The old one.
        b: The new one.
        texts: Texts in the form in which they are encoded.
    """
    kin = Kinship(a, b)
    scores = sum(map(float.__ne__, a.scores[: kin.same], b.scores[: kin.same]))
    both = min(a.vocabulary, b.vocabulary)
    missing = set(range(a.vocabulary)) - set(kin.sources)
    cut = []
    for text in texts:
        if a.encode(text) != b.encode(text):
            left, right = (" ".join(_pieces(each, text)) for each in (a, b))
            cut.append(CutOtherwise(text=text, a=left, b=right))
    return TokenizerDifference(
        a_size=a.vocabulary,
        b_size=b.vocabulary,
        same=kin.same,
        is_extension=kin.is_extension and not scores,
        first_difference="" if kin.is_extension else kin.first_difference(),
        other_scores=scores,
        changed_ids=sum(kin.sources[number] != number for number in range(both)),
        only_a=[a.pieces[number] for number in sorted(missing)],
        only_b=[
            piece for piece, source in zip(b.pieces, kin.sources, strict=True) if source is None
        ],
        texts=len(texts),
        cut_otherwise=cut,
    )


def _pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.pieces[number] for number in tokenizer.encode(text)]
