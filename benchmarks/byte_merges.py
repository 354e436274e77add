"""What does a word cost in a byte vocabulary, and what would new merges for a script gain?

    python benchmarks/byte_merges.py --vocabulary multilingual.tiktoken [--words amharic_words.txt]

VOCABULARY is a `.tiktoken` file: that of IndexTTS-2.5, or another one of the family. It is extended as
`unbroken-tts tokenizer extend` does. With --words (one per line, the most frequent first) lines of 8 words
are drawn with weights 1/rank, 6,000 to learn from and 1,000 held out; without it three quarters of the
project's own 400 sentences are learnt from.
"""

from __future__ import annotations

import argparse
import random
import time
from itertools import accumulate
from pathlib import Path

from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tiktoken_tokenizer import TiktokenTokenizer
from unbroken_tts.prepare.byte_merges import extend_bytes, tokens_a_word
from unbroken_tts.prepare.fronts import WITH_LANGUAGE, front_end
from unbroken_tts.prepare.indextts25_front import without_token

POSITIONS = 600
"""Text positions of the model."""
SEGMENT = 120
"""Tokens of a segment where the program's caller names no other number."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vocabulary", type=Path, required=True, metavar="FILE")
    parser.add_argument("--words", type=Path, metavar="FILE")
    parser.add_argument("--merges", type=int, nargs="*", default=[0, 500, 1000, 2000, 4000])
    parser.add_argument("--language", default="am")
    parser.add_argument("--script", default="Ethiopic")
    arguments = parser.parse_args()
    base = open_tokenizer(arguments.vocabulary)
    assert isinstance(base, TiktokenTokenizer)
    learnt, held = texts(arguments.words, arguments.language)
    print(f"{base.vocabulary} ids; {len(learnt)} texts learnt from, {len(held)} held out")
    print("merges  only steps  tokens a word  held out  words in 600  words in 120  seconds")
    for number in arguments.merges:
        tokenizer, dead = base, 0
        began = time.process_time()
        if number:
            made = extend_bytes(base, learnt, base.vocabulary + number, script=arguments.script)
            tokenizer, dead = TiktokenTokenizer(arguments.vocabulary, made.content), made.dead
        seconds = time.process_time() - began
        rate, held_rate = (tokens_a_word(tokenizer, lines) for lines in (learnt, held))
        print(
            f"{tokenizer.vocabulary - base.vocabulary:6d}  {dead:10d}  {rate:13.2f}  "
            f"{held_rate:8.2f}  {(POSITIONS - 1) / held_rate:12.0f}  "
            f"{(SEGMENT - 1) / held_rate:12.0f}  {seconds:7.1f}"
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


if __name__ == "__main__":
    main()
