"""What does a word cost in a byte vocabulary, and what would new merges for a script gain?

    python benchmarks/byte_merges.py --vocabulary multilingual.tiktoken [--words amharic_words.txt]

VOCABULARY is a `.tiktoken` file: that of IndexTTS-2.5, or another one of the family. Merges are learnt by
byte pair encoding on texts whose first merges are those of the vocabulary, and appended to it. With
--words (one per line, the most frequent first) lines of 8 words are drawn with weights 1/rank, 6,000 to
learn from and 1,000 held out; without it three quarters of the project's own 400 sentences are learnt from.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import regex
import tiktoken

from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tiktoken_tokenizer import TiktokenTokenizer, encoding_of
from unbroken_tts.data.whisper_tokens import PATTERN
from unbroken_tts.prepare.fronts import WITH_LANGUAGE, front_end
from unbroken_tts.prepare.indextts25_front import without_token

POSITIONS = 600
"""Text positions of the model."""
SEGMENT = 120
"""Tokens of a segment where the program's caller names no other number."""
PARTS = regex.compile(PATTERN)
Tokens = tuple[int, ...]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vocabulary", type=Path, required=True, metavar="FILE")
    parser.add_argument("--words", type=Path, metavar="FILE")
    parser.add_argument("--merges", type=int, nargs="*", default=[0, 500, 1000, 2000, 4000])
    parser.add_argument("--language", default="am")
    arguments = parser.parse_args()
    tokenizer = open_tokenizer(arguments.vocabulary)
    assert isinstance(tokenizer, TiktokenTokenizer)
    learnt, held = texts(arguments.words, arguments.language)
    merges = learn(tokenizer, learnt, max(arguments.merges))
    print(f"{tokenizer.vocabulary} ids; {len(learnt)} texts learnt from, {len(held)} held out")
    print("merges  tokens a word  held out  words in 600  words in 120  ids used  seconds a text")
    for number in arguments.merges:
        encoding = extended(tokenizer, merges[:number])
        rate = tokens_a_word(encoding, learnt)
        began = time.process_time()
        held_rate = tokens_a_word(encoding, held)
        seconds = (time.process_time() - began) / len(held)
        used = {each for text in (*learnt, *held) for each in encoding.encode(" " + text)}
        print(
            f"{min(number, len(merges)):6d}  {rate:13.2f}  {held_rate:8.2f}  "
            f"{(POSITIONS - 1) / held_rate:12.0f}  {(SEGMENT - 1) / held_rate:12.0f}  "
            f"{len(used):8d}  {seconds:.6f}"
        )


def texts(words: Path | None, language: str) -> tuple[list[str], list[str]]:
    """Return the texts to learn from and those held out, as the program of 2.5 encodes them."""
    if words is None:
        lines = load_sentences(language)
        random.Random(0).shuffle(lines)  # noqa: S311 - no secret
        share = len(lines) * 3 // 4
    else:
        share = 6_000
        lines = drawn(words, share + 1_000)
    every = [without_token(front_end(line, language, WITH_LANGUAGE)) for line in lines]
    return every[:share], every[share:]


def drawn(words: Path, number: int) -> list[str]:
    """Return lines of 8 words, drawn with weights 1/rank; equal for equal arguments."""
    every = words.read_text(encoding="utf-8").split()
    weights = list(accumulate(1 / rank for rank in range(1, len(every) + 1)))
    chosen = random.Random(0).choices(every, cum_weights=weights, k=8 * number)  # noqa: S311
    return [" ".join(chosen[first : first + 8]) for first in range(0, len(chosen), 8)]


def tokens_a_word(encoding: tiktoken.Encoding, lines: Iterable[str]) -> float:
    """Return the tokens of texts, without those of languages, for each word."""
    tokens = words = 0
    for line in lines:
        tokens += len(encoding.encode(" " + line))
        words += len(line.split())
    return tokens / words


def extended(tokenizer: TiktokenTokenizer, merges: Sequence[bytes]) -> tiktoken.Encoding:
    """Return the encoding with merges behind its ranks; all special ids shift by their number."""
    ranks = dict(tokenizer.ranks())
    ranks |= {token: len(ranks) + number for number, token in enumerate(merges)}
    return encoding_of(ranks)


def learn(tokenizer: TiktokenTokenizer, lines: Sequence[str], number: int) -> list[bytes]:
    """Return merges by byte pair encoding that goes on where the vocabulary's own end.

    The most frequent pair of neighbours within a part becomes one token; of equally frequent ones the
    first by its ids.
    """
    encoding = extended(tokenizer, [])
    ids = tokenizer.ranks()
    spelt = {rank: token for token, rank in ids.items()}
    counts = Counter(part for line in lines for part in PARTS.findall(" " + line))
    words = {number: tuple(encoding.encode_ordinary(part)) for number, part in enumerate(counts)}
    often = list(counts.values())
    pairs: Counter[tuple[int, int]] = Counter()
    where: dict[tuple[int, int], set[int]] = defaultdict(set)

    def count(word: int, sign: int) -> None:
        for pair in pairwise(words[word]):
            pairs[pair] += sign * often[word]
            where[pair].add(word)

    for word in words:
        count(word, 1)
    found: list[bytes] = []
    while len(found) < number and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        token = spelt[best[0]] + spelt[best[1]]
        new = ids.setdefault(token, len(spelt))  # two pairs may spell one token
        if new not in spelt:
            spelt[new] = token
            found.append(token)
        for word in sorted(where.pop(best)):
            count(word, -1)
            words[word] = joined(words[word], best, new)
            count(word, 1)
        pairs = +pairs
    return found


def joined(word: Tokens, pair: tuple[int, int], new: int) -> Tokens:
    """Return a word with every occurrence of a pair, from the left, as one token."""
    parts: list[int] = []
    number = 0
    while number < len(word):
        if word[number : number + 2] == pair:
            parts.append(new)
            number += 2
        else:
            parts.append(word[number])
            number += 1
    return tuple(parts)


if __name__ == "__main__":
    main()
