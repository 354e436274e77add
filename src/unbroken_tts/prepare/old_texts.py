"""Texts that a base tokenizer must cut as before: of its old languages, and of its own pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from unbroken_tts.prepare.letters import SPACE, has_letter

_PIECES_IN_A_TEXT = 7
_STRIDE = 7919  # a prime: neighbouring numbers of pieces, such as the tones of one syllable, part

OLD_TEXTS: Final = (
    "THE QUICK BROWN FOX DIDN'T JUMP OVER THE LAZY DOG, DID IT?",
    'The same sentence in Mixed Case, with digits 0 1 2 3 and marks: (one); two - 100 % "three"!',
    "CAFÉ, NAÏVE, STRASSE, SMÖRGÅSBORD AND ŁÓDŹ AREN'T ENGLISH.",
    "今天天气很好，我们去公园散步吧。",
    "他问：“你几点来？”我说：八点（大概）；真的！",
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少？",
    "NI3 HAO3 , SHI4 JIE4 ! ZHONG1 WEN2 HE2 PIN1 YIN1 .",
    "今天 TIAN1 QI4 很好 , LET'S GO TO THE PARK .",
    "吾輩は猫である。名前はまだ無い。",
    "동해물과 백두산이 마르고 닳도록.",
    "ÇA VA BIEN, MERCI ! ¿QUÉ TAL? GRÜSSE AUS KÖLN.",
    "ПРИВЕТ, МИР!",
    "ａｂｃ　ＦＵＬＬ　ＷＩＤＴＨ：（１２３）；％",
    "[ZH] [EN] [JA] [KO]",
)
"""Sentences of old languages: English, Chinese in characters and in pinyin, mixed, with everything
that a normaliser may change."""


def texts_of_pieces(pieces: Iterable[str], script: str) -> list[str]:
    """Return texts that contain every piece of a base, next to others with and without blanks.

    Args:
        pieces: The pieces by id.
        script: Pieces with letters of this script are left out.
    """
    known = [each.replace(SPACE, " ") for each in pieces if not has_letter(each, script)]
    size = len(known)
    if not size:
        return list(OLD_TEXTS)
    stride = next(step for step in range(_STRIDE, _STRIDE + size + 1) if size == 1 or step % size)
    order = sorted(range(size), key=lambda number: (number * stride % size, number))
    mixed = [known[number] for number in order]
    groups = [mixed[at : at + _PIECES_IN_A_TEXT] for at in range(0, size, _PIECES_IN_A_TEXT)]
    return [
        *OLD_TEXTS,
        *("".join(group) for group in groups),
        *(" ".join(group) for group in groups),
    ]
