"""Says what a tokenizer is, and how well it cuts given texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.prepare.letters import SPACE, script_of, words_of

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptPieces:
    """The pieces of one script."""

    script: str
    """By the Unicode names of the letters; `marks`, `digits`; `special` for `<s>` and the like."""
    pieces: int
    """Pieces whose first letter is of it."""
    dead: int
    """Of these, the pieces that the texts never use."""
    characters: int
    """Characters of the texts in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word that takes many tokens."""

    text: str
    """The word."""
    count: int
    """Its occurrences."""
    tokens: int
    """Its tokens."""
    cut: str
    """Its pieces, with blanks between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerReport:
    """A tokenizer, and how it cuts texts. Without texts all counts of them are 0."""

    kind: str
    """`unigram`, `bpe`, `word`, `char` or `tiktoken`."""
    normaliser: str
    """Name of its normalisation."""
    size: int
    """Its pieces."""
    kinds: dict[str, int]
    """Kind of piece -> number."""
    texts: int
    words: int
    tokens: int
    tokens_per_word: float
    unknown: int
    """Tokens that are `<unk>`."""
    unknown_share: float
    """Of all tokens, 0 to 1."""
    texts_with_unknown: int
    unknown_characters: dict[str, int]
    """Character without a piece -> occurrences, the most frequent first."""
    scripts: list[ScriptPieces]
    """The most frequent in the texts first, then by pieces."""
    appended: int
    """Pieces after those of the base; 0 where no base was named."""
    appended_dead: list[str]
    """Of these, the pieces that the texts never use."""
    dead: list[str]
    """Pieces that the texts never use, of the script that most of the texts are in."""
    worst_words: list[Word]
    """Those with the most tokens, the more frequent first."""

    def text(self) -> str:
        """Return the report as lines of text."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
        lines = [
            f"Kind       {self.kind}, normaliser {self.normaliser}",
            f"Pieces     {self.size}: {kinds}",
        ]
        if self.texts:
            lines += self._text_lines()
        lines.append(f"{'Scripts':10} {'pieces':>8} {'unused':>8} {'characters of the texts':>24}")
        total = sum(each.characters for each in self.scripts) or 1
        for each in self.scripts:
            unused = str(each.dead) if self.texts else "-"
            share = f"{each.characters} ({100 * each.characters / total:.1f} %)"
            lines.append(f"  {each.script:8} {each.pieces:8d} {unused:>8} {share:>24}")
        lines += [
            f"Worst word {word.text} ({word.count} x): {word.tokens} tokens, {word.cut}"
            for word in self.worst_words
        ]
        return "\n".join(lines)

    def _text_lines(self) -> list[str]:
        known = " ".join(f"{each} {count}" for each, count in _first(self.unknown_characters))
        more = len(self.unknown_characters) - _SHOWN
        lines = [
            f"Texts      {self.texts}, {self.words} words",
            f"Tokens     {self.tokens}, {self.tokens_per_word:.2f} per word",
            (
                f"Unknown    {self.unknown} tokens ({100 * self.unknown_share:.2f} %), in "
                f"{self.texts_with_unknown} of {self.texts} texts"
            ),
        ]
        if known:
            lines.append(f"  by character: {known}{f' and {more} more' if more > 0 else ''}")
        if self.appended:
            lines.append(f"Appended   {self.appended} pieces, {len(self.appended_dead)} never used")
        dead = self.appended_dead if self.appended else self.dead
        if dead:
            more = len(dead) - _SHOWN
            lines.append(
                f"Never used {' '.join(dead[:_SHOWN])}{f' and {more} more' if more > 0 else ''}"
            )
        return lines


def _first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return list(counts.items())[:_SHOWN]


def report_on(
    tokenizer: Tokenizer, texts: Sequence[str], *, base_size: int | None = None, worst: int = 10
) -> TokenizerReport:
    """Look at a tokenizer and at how it cuts texts.

    Args:
        tokenizer: Of any kind.
        texts: Normalised texts, without tokens of languages; may be none.
        base_size: Pieces of the base that it extends, if there is one.
        worst: Number of words to name.
    """
    cut = _Cut(tokenizer, texts)
    names = tokenizer.pieces
    kinds = Counter(kind.replace("_", "-") for kind in tokenizer.kinds)
    scripts = _scripts(tokenizer)
    main = cut.scripts.most_common(1)[0][0] if cut.scripts else ""
    tokens, unknown, words = cut.uses.total(), cut.uses[tokenizer.unknown_id], cut.words.total()
    is_dead = [bool(texts) and not cut.uses[number] for number in range(len(names))]
    first = len(names) if base_size is None else base_size
    return TokenizerReport(
        kind=tokenizer.kind,
        normaliser=tokenizer.normaliser,
        size=len(names),
        kinds=dict(kinds.most_common()),
        texts=len(texts),
        words=words,
        tokens=tokens,
        tokens_per_word=tokens / words if words else 0.0,
        unknown=unknown,
        unknown_share=unknown / tokens if tokens else 0.0,
        texts_with_unknown=cut.with_unknown,
        unknown_characters=cut.unknown_characters(),
        scripts=_by_script(scripts, is_dead, cut.scripts),
        appended=max(0, len(names) - first),
        appended_dead=[names[number] for number in range(first, len(names)) if is_dead[number]],
        dead=[
            name
            for name, script, dead in zip(names, scripts, is_dead, strict=True)
            if dead and script == main
        ],
        worst_words=cut.worst(worst),
    )


class _Cut:
    """How a tokenizer cuts texts."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        self.tokenizer = tokenizer
        # SentencePiece puts a blank before every text; elsewhere the language's token is followed by one.
        self.lead = " " if tokenizer.languages else ""
        self.uses: Counter[int] = Counter()
        self.with_unknown = 0
        for text in texts:
            ids = tokenizer.encode(self.lead + text)
            self.uses.update(ids)
            self.with_unknown += tokenizer.unknown_id in ids
        self.words = words_of(tokenizer.normalised(text) for text in texts)
        self.characters: Counter[str] = Counter()
        self.scripts: Counter[str] = Counter()
        for word, count in self.words.items():
            for character in word.removeprefix(SPACE):
                self.characters[character] += count
        for character, count in self.characters.items():
            self.scripts[script_of(character)] += count

    def unknown_characters(self) -> dict[str, int]:
        """Return the characters without a piece, the most frequent first."""
        return {
            each: count
            for each, count in self.characters.most_common()
            if self.tokenizer.unknown_id in self.tokenizer.encode(each)
        }

    def worst(self, number: int) -> list[Word]:
        """Return the words with the most tokens, the more frequent first."""
        found = []
        for word, count in self.words.items():
            text = word.removeprefix(SPACE)
            cut = self.tokenizer.cut(self.lead + text)
            found.append(Word(text=text, count=count, tokens=len(cut), cut=" ".join(cut)))
        return sorted(found, key=lambda each: (-each.tokens, -each.count, each.text))[:number]


def _scripts(tokenizer: Tokenizer) -> list[str]:
    """Return the script of each piece; special tokens and bytes are called so."""
    special = len(tokenizer.pieces) if not tokenizer.languages else tokenizer.first_language_id - 2
    return [
        script_of_piece(piece)
        if kind in {"normal", "user_defined"} and number < special
        else ("bytes" if kind == "byte" and tokenizer.languages else "special")
        for number, (piece, kind) in enumerate(zip(tokenizer.pieces, tokenizer.kinds, strict=True))
    ]


def script_of_piece(piece: str) -> str:
    """Return the script of the first letter of a piece, else of its first character."""
    found = [script_of(character) for character in piece.strip(SPACE)] or ["marks"]
    letters = [each for each in found if each not in {"marks", "digits", "other"}]
    return (letters or found)[0]


def _by_script(
    scripts: Sequence[str], is_dead: Sequence[bool], of_texts: Counter[str]
) -> list[ScriptPieces]:
    pieces = Counter(scripts)
    dead = Counter(script for script, each in zip(scripts, is_dead, strict=True) if each)
    order = sorted({*pieces, *of_texts}, key=lambda each: (-of_texts[each], -pieces[each], each))
    return [
        ScriptPieces(script=each, pieces=pieces[each], dead=dead[each], characters=of_texts[each])
        for each in order
    ]
