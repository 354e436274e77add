"""How well does an extended tokenizer cut a new language? Dead pieces, and tokens a word.

    python benchmarks/extension.py --base checkpoints/bpe.model --words amharic_words.txt

WORDS has one word per line, the most frequent first. Lines of 8 words are drawn with weights 1/rank, 6,000 to
extend with and 1,000 held out. Compared are new scores that are only an order, as merges of BPE have; fitted
ones with several factors on their logarithms; and tokenizers trained on the new texts alone.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from unittest.mock import patch

from unbroken_tts.prepare import piece_scores
from unbroken_tts.prepare.extension import extend
from unbroken_tts.prepare.growth import Growth
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.prepare.tokenizers import SPECIAL_PIECES, processor, train_tokenizer

WORDS_IN_A_LINE = 8
HELD_OUT = 1_000
FACTORS = (1.0, 0.2, 0.1, 0.05)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True, metavar="FILE")
    parser.add_argument("--words", type=Path, required=True, metavar="FILE")
    parser.add_argument("--lines", type=int, default=6_000, metavar="N")
    parser.add_argument("--new-pieces", type=int, default=4_000, metavar="N")
    parser.add_argument("--language", default="am")
    arguments = parser.parse_args()
    base, new = arguments.base.read_bytes(), arguments.new_pieces
    lines = drawn(arguments.words, arguments.lines + HELD_OUT, arguments.language)
    train, held = lines[: arguments.lines], lines[arguments.lines :]
    size = processor(base).GetPieceSize()
    print("way                        pieces    dead  tokens a word  held out  seconds")
    report = Report(train, held)
    report.row("scores as an order", size, lambda: in_order(base, train, new))
    for factor in FACTORS:
        with patch.object(piece_scores, "TEMPER", factor):
            report.row(
                f"fitted, factor {factor:g}", size, lambda: extend(base, train, size + new).model
            )
    for kind in ("unigram", "bpe"):
        report.row(
            f"new texts alone, {kind}",
            SPECIAL_PIECES,
            lambda kind=kind: train_tokenizer(train, new + SPECIAL_PIECES, kind=kind),  # type: ignore[misc]
        )


class Report:
    """Prints one row for each way."""

    def __init__(self, train: Sequence[str], held: Sequence[str]) -> None:
        self.train, self.held = train, held

    def row(self, name: str, first: int, make: Callable[[], bytes]) -> None:
        """Make a tokenizer and print how it cuts the lines; new pieces begin at id `first`."""
        began = time.process_time()
        encoder = processor(make())
        seconds = time.process_time() - began
        cuts = {id(lines): encoder.EncodeAsIds(list(lines)) for lines in (self.train, self.held)}
        used = {number for ids in cuts[id(self.train)] for number in ids}
        dead = sum(number not in used for number in range(first, encoder.GetPieceSize()))
        rates = [
            sum(map(len, cuts[id(lines)])) / sum(len(line.split()) for line in lines)
            for lines in (self.train, self.held)
        ]
        print(
            f"{name:25} {encoder.GetPieceSize() - first:7d} {dead:7d} {rates[0]:14.2f} {rates[1]:9.2f} "
            f"{seconds:8.1f}",
            flush=True,
        )


def drawn(words: Path, count: int, language: str) -> list[str]:
    """Return normalised lines of words drawn with weights 1/rank; always the same."""
    known = words.read_text(encoding="utf-8").split()
    weights = list(accumulate(1 / rank for rank in range(1, len(known) + 1)))
    draw = random.Random(0)  # noqa: S311 -- a sample, no secret
    return [
        normalise(" ".join(draw.choices(known, cum_weights=weights, k=WORDS_IN_A_LINE)), language)
        for _ in range(count)
    ]


def in_order(base: bytes, texts: Sequence[str], wanted: int) -> bytes:
    """Extend with the first merges, each scored below the one before, whatever kind the base is."""
    growth = Growth(base, texts, "Ethiopic")
    chosen = [*growth.candidates(wanted)[: wanted - len(growth.letters)], *growth.letters]
    lowest = growth.range[0]
    return growth.with_pieces(
        {piece: lowest - number for number, piece in enumerate(chosen, start=1)}
    )


if __name__ == "__main__":
    main()
