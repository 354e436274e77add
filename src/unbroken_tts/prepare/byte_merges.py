"""Appends merges for a script to the vocabulary of IndexTTS-2.5, and says why old ids stay.

Byte pair encoding goes on where the vocabulary's own ends, on texts of the script. The ids of the special
tokens move back by the number of merges, as the inference program counts them from the number of lines.

Old text is encoded as before, special tokens apart: each merge contains bytes that only characters of the
script have, so it can't be part of a text without any, and new merges are tried after all old ones.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from unbroken import SettingsInvalid
from unbroken_tts.data.tiktoken_tokenizer import TiktokenTokenizer
from unbroken_tts.prepare.letters import script_letters

MERGES = 2_000
"""Merges to append where no number is named."""
_LEAST = 2
"""Occurrences of a pair in the texts from which it is merged."""
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteExtension:
    """A vocabulary with merges for a script."""

    content: bytes
    """The `.tiktoken` file: the lines of the base, then a line for each merge."""
    base_size: int
    """Ids of the base, special tokens included."""
    size: int
    """Ids now."""
    before: float
    """Tokens a word of the texts with the base."""
    after: float
    """The same with the merges."""
    dead: int
    """Merges that are only steps to longer ones: no text has them."""

    def text(self) -> str:
        """Return the result as lines of text."""
        added = self.size - self.base_size
        return (
            f"tiktoken, {self.size} ids, {added} of them new, {self.dead} only steps to others\n"
            f"Tokens     {self.before:.2f} a word before, {self.after:.2f} now\n"
            f"old ids    unchanged; those of the special tokens are {added} higher"
        )


def extend_bytes(
    base: TiktokenTokenizer, texts: Sequence[str], size: int, *, script: str = "Ethiopic"
) -> ByteExtension:
    """Append merges for a script.

    Args:
        base: The vocabulary to extend.
        texts: Texts as they are encoded, without tokens of languages.
        size: Ids then, special tokens included; fewer if the texts have no more pairs.
        script: The first word of the Unicode names of the script's characters.

    Raises:
        SettingsInvalid: There is room for no merge, the script is unknown, or the texts lack it.
    """
    room = size - base.vocabulary
    if room < 1:
        raise SettingsInvalid(
            f"The vocabulary {base.path} has {base.vocabulary} ids, and {size} are asked for.",
            "Special tokens included, that is room for no merge.",
            f"Give a size such as {base.vocabulary + 2000} with --vocabulary.",
        )
    merges = _learnt(base, texts, room, _alone(script))
    if not merges:
        raise SettingsInvalid(
            f"The texts have no pair of bytes of the script {script} that occurs twice.",
            "Every merge must contain a character of the script, so that old texts keep their ids.",
            "Give texts in the new script, or name theirs with --script.",
        )
    ranks = base.vocabulary - len(base.special_tokens)
    lines = [b"%b %d\n" % (base64.b64encode(each), ranks + n) for n, each in enumerate(merges)]
    content = base.path.read_bytes().rstrip(b"\r\n") + b"\n" + b"".join(lines)
    extended = TiktokenTokenizer(base.path, content)
    used = {each for text in texts for each in extended.encode(f" {text}")}
    return ByteExtension(
        content=content,
        base_size=base.vocabulary,
        size=extended.vocabulary,
        before=tokens_a_word(base, texts),
        after=tokens_a_word(extended, texts),
        dead=sum(ranks + number not in used for number in range(len(merges))),
    )


def tokens_a_word(tokenizer: TiktokenTokenizer, texts: Sequence[str]) -> float:
    """Return the tokens of texts, without those of languages, for each word."""
    tokens = sum(len(tokenizer.encode(f" {text}")) for text in texts)
    return tokens / max(1, sum(len(text.split()) for text in texts))


def _alone(script: str) -> re.Pattern[bytes]:
    """Return a pattern of bytes that only characters of a script have.

    These are its letters, and beginnings of characters that all belong to it or to none.
    """
    letters = [each.encode("utf-8") for each in script_letters(script)]
    if not letters:
        raise SettingsInvalid(
            f"No letter is of the script {script!r}.",
            "Merges are made for the letters of one script.",
            "Name it by the first word of its letters' Unicode names, such as Ethiopic.",
        )
    beginnings = sorted({each[:-1] for each in letters if len(each) > 2})
    own = [each for each in beginnings if _is_own(each, script)]
    return re.compile(b"|".join(map(re.escape, (*own, *letters))))


def _is_own(beginning: bytes, script: str) -> bool:
    """Return whether all 64 characters that begin with some bytes are of a script, or are none."""
    for last in range(0x80, 0xC0):
        character = (beginning + bytes([last])).decode("utf-8", "replace")
        name = unicodedata.name(character[0], "")
        if name and not name.startswith(f"{script.upper()} "):
            return False
    return True


class _Words:
    """The parts of texts as ids, with the pairs of neighbours in them."""

    def __init__(self, base: TiktokenTokenizer, texts: Sequence[str]) -> None:
        counts = Counter(part for text in texts for part in base.parts(f" {text}"))
        self.often = list(counts.values())
        self.ids = [tuple(base.encode(part)) for part in counts]
        self.pairs: Counter[Pair] = Counter()
        self.heap: list[tuple[int, Pair]] = []
        """Pairs by their negative number, which may since have become smaller."""
        self.where: dict[Pair, set[int]] = defaultdict(set)
        for word in range(len(self.ids)):
            self._count(word, 1)

    def most_frequent(self) -> tuple[int, Pair] | None:
        """Take out the most frequent pair, of equals the first, with its number; None at the end."""
        while self.heap:
            before, pair = heappop(self.heap)
            now = self.pairs[pair]
            if now == -before:
                return now, pair
            if now:
                heappush(self.heap, (-now, pair))
        return None

    def merge(self, pair: Pair, new: int) -> None:
        """Write every occurrence of a pair as one id."""
        for word in sorted(self.where.pop(pair)):
            self._count(word, -1)
            self.ids[word] = _joined(self.ids[word], pair, new)
            self._count(word, 1)

    def _count(self, word: int, sign: int) -> None:
        for pair in pairwise(self.ids[word]):
            self.pairs[pair] += sign * self.often[word]
            if sign > 0:
                self.where[pair].add(word)
                heappush(self.heap, (-self.pairs[pair], pair))


def _joined(ids: tuple[int, ...], pair: Pair, new: int) -> tuple[int, ...]:
    parts: list[int] = []
    number = 0
    while number < len(ids):
        is_pair = ids[number : number + 2] == pair
        parts.append(new if is_pair else ids[number])
        number += 2 if is_pair else 1
    return tuple(parts)


def _learnt(
    base: TiktokenTokenizer, texts: Sequence[str], number: int, alone: re.Pattern[bytes]
) -> list[bytes]:
    """Return up to `number` merges: each time the most frequent allowed pair, of equals the first."""
    words = _Words(base, texts)
    ids = base.ranks()
    spelt = {rank: token for token, rank in ids.items()}
    found: list[bytes] = []
    while len(found) < number:
        best = words.most_frequent()
        if best is None or best[0] < _LEAST:
            break
        pair = best[1]
        token = spelt.get(pair[0], b"") + spelt.get(pair[1], b"")
        if not alone.search(token) or not all(each in spelt for each in pair):
            continue  # it stays apart: other scripts have it too, or it is a special token
        new = ids.setdefault(token, len(spelt))  # two pairs may spell one token
        if new not in spelt:
            spelt[new] = token
            found.append(token)
        words.merge(pair, new)
    return found
