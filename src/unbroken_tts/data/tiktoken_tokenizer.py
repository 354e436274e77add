"""Reads the vocabulary of IndexTTS-2.5: byte pairs in a `.tiktoken` file, and Whisper's special tokens.

A line of the file is a token in base64 and its rank, which is its id. Any text can be spelt, letters
that the vocabulary doesn't know by their bytes. The special tokens follow (`whisper_tokens`).
"""

from __future__ import annotations

import binascii
import hashlib
import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

import regex
import tiktoken

from unbroken import DataInvalid
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.data.whisper_tokens import (
    BEFORE_LANGUAGES,
    LANGUAGES,
    NEVER_READ,
    PATTERN,
    SPECIAL_TOKENS,
    VOCABULARY_FILE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

SPACE: Final = "\u2581"
_LINE: Final = re.compile(rb"([A-Za-z0-9+/]+={0,2}|=) ([0-9]{1,9})\r?")
_PARTS: Final = regex.compile(PATTERN)
_EMPTY: Final = b"="
"""How Whisper's vocabulary writes the one token without bytes, which no text contains."""
_MOST_TOKENS: Final = 1_000_000
_LONGEST: Final = 1_024


class TiktokenTokenizer(Tokenizer):
    """A vocabulary of byte pairs with the special tokens of IndexTTS-2.5.

    Special tokens in a text, such as `<|am|>`, become their ids, as in the inference program.

    Args:
        path: The `.tiktoken` file, for messages.
        content: What is in it.

    Raises:
        DataInvalid: A line is damaged, or ranks or single bytes are missing or occur twice.
    """

    kind = "tiktoken"
    normaliser = "none"
    unknown_id = -1
    languages = LANGUAGES
    special_tokens = SPECIAL_TOKENS

    def __init__(self, path: Path, content: bytes) -> None:
        ranks = _ranks(path, content)
        self.path = path
        self.vocabulary = len(ranks) + len(SPECIAL_TOKENS)
        self.first_language_id = len(ranks) + BEFORE_LANGUAGES
        self._tokens = tuple(sorted(ranks, key=ranks.__getitem__))
        self._encoding = encoding_of(ranks)
        self.digest = self._digest()

    @cached_property
    def pieces(self) -> tuple[str, ...]:  # type: ignore[override]
        """The tokens as text, see `printable`; special tokens as they are written in a text."""
        return (*(printable(token)[0] for token in self._tokens), *SPECIAL_TOKENS)

    @cached_property
    def kinds(self) -> tuple[str, ...]:  # type: ignore[override]
        """`normal`, `byte` where a piece shows bytes, `unused` without any, `user_defined` if special."""
        special = ("user_defined",) * len(SPECIAL_TOKENS)
        return (*(printable(token)[1] for token in self._tokens), *special)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text as the model is given them; see `Tokenizer.encode`.

        The program leaves the two ids of start and stop out, and so does this.
        """
        ids = self._encoding.encode(text, allowed_special="all")
        return [each for each in ids if each not in NEVER_READ]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens included; bytes that are no text become U+FFFD."""
        return self._encoding.decode([int(token) for token in ids])

    def ranks(self) -> dict[bytes, int]:
        """Return the ids by the bytes of the tokens, without the special ones."""
        return {token: rank for rank, token in enumerate(self._tokens)}

    def parts(self, text: str) -> list[str]:
        """Return the parts of a text that are encoded by themselves."""
        return list(_PARTS.findall(text))

    def first_text_id(self, reserved: AbstractSet[int]) -> int:
        """Return the first id behind those that no text has, which are those of start and stop."""
        return max(NEVER_READ | reserved) + 1

    def _digest(self) -> str:
        """Return the digest over each token's length (little-endian uint32) and bytes, by id."""
        hasher = hashlib.blake2b(b"unbroken tiktoken 1\n", digest_size=16)
        for token in (*self._tokens, *(special.encode("ascii") for special in SPECIAL_TOKENS)):
            hasher.update(len(token).to_bytes(4, "little") + token)
        return hasher.hexdigest()


def looks_like_tiktoken(content: bytes) -> bool:
    """Return whether the first line of a file is a word and a number, which no other kind begins with."""
    return re.match(rb"\S{1,2000} +[0-9]+[ \t\r]*(?:\n|\Z)", content) is not None


def encoding_of(ranks: Mapping[bytes, int]) -> tiktoken.Encoding:
    """Return the encoding of a vocabulary with the special tokens behind it; nothing is downloaded.

    Args:
        ranks: Ids from 0 on, by the bytes of the tokens.
    """
    special = {token: len(ranks) + number for number, token in enumerate(SPECIAL_TOKENS)}
    return tiktoken.Encoding(
        name="indextts-2.5",
        pat_str=PATTERN,
        mergeable_ranks=dict(ranks),
        special_tokens=special,
        explicit_n_vocab=len(ranks) + len(special),
    )


def printable(token: bytes) -> tuple[str, str]:
    """Return a token as text that no other token has, and its kind.

    A blank is U+2581. A token that isn't wholly text (part of a letter, control characters, U+2581
    itself) is of the kind `byte`: what can't be shown, and `<`, is written as in `<0xE1>`.
    """
    text = token.decode("utf-8", "surrogateescape")
    shown = text.replace(" ", "")
    if shown.isprintable() and SPACE not in shown:
        return text.replace(" ", SPACE), "normal" if token else "unused"
    return "".join(map(_shown, text)), "byte"


def _shown(character: str) -> str:
    if character == " ":
        return SPACE
    if character.isprintable() and character not in {"<", SPACE}:
        return character
    written = character.encode("utf-8", "surrogateescape")
    return "".join(f"<0x{each:02X}>" for each in written)


def _ranks(path: Path, content: bytes) -> dict[bytes, int]:
    """Return the rank of each token of a file."""
    lines = content.removesuffix(b"\n").split(b"\n")
    if len(lines) > _MOST_TOKENS:
        raise _damaged(path, f"has {len(lines)} lines, more than any vocabulary")
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise _damaged(path, f"has no token and rank in line {number}: {line[:80]!r}")
        try:
            token = binascii.a2b_base64(found[1]) if found[1] != _EMPTY else b""
        except binascii.Error:
            raise _damaged(path, f"has no base64 in line {number}: {line[:80]!r}") from None
        if token in ranks:
            raise _damaged(path, f"has a token a second time in line {number}: {line[:80]!r}")
        ranks[token] = int(found[2])
    _require_whole(path, ranks)
    return ranks


def _require_whole(path: Path, ranks: Mapping[bytes, int]) -> None:
    """Check that each rank below the number of tokens occurs, and each single byte."""
    missing = set(range(len(ranks))) - set(ranks.values())
    if missing:
        raise _damaged(path, f"has {len(ranks)} tokens, but none of the rank {min(missing)}")
    unspelt = [each for each in range(256) if bytes([each]) not in ranks]
    if unspelt:
        some = " ".join(f"{each:02X}" for each in unspelt[:8])
        raise _damaged(path, f"lacks {len(unspelt)} of the 256 single bytes ({some})")
    longest = max(map(len, ranks))
    if longest > _LONGEST:
        raise _damaged(path, f"has a token of {longest} bytes")


def _damaged(path: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The vocabulary {path} {what}.",
        "Each line of a `.tiktoken` file is a token in base64 and its rank; with a line more or less all "
        "special ids would shift.",
        f"Copy it again from the folder of IndexTTS-2.5 ({VOCABULARY_FILE}).",
    )
