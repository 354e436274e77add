"""Opens a tokenizer of either kind by what is in its file, and finds that of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

from unbroken import DataInvalid
from unbroken_tts.data.sentencepiece_tokenizer import SentencePieceTokenizer
from unbroken_tts.data.tiktoken_tokenizer import TiktokenTokenizer, looks_like_tiktoken
from unbroken_tts.data.whisper_tokens import VOCABULARY_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from unbroken_tts.data.tokenizer import Tokenizer

_LARGEST: Final = 256 * 2**20
"""Bytes; real ones have one or two million."""


def open_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer: a SentencePiece model, or the vocabulary of IndexTTS-2.5.

    The content decides, not the name.

    Raises:
        DataInvalid: The file is missing, unreadable, or neither of the two.
    """
    return tokenizer_of(read_tokenizer(path), path)


def tokenizer_of(content: bytes, path: Path) -> Tokenizer:
    """Return the tokenizer of a file's content.

    Args:
        content: What is in the file.
        path: Where it is, for messages.

    Raises:
        DataInvalid: It is no tokenizer.
    """
    if looks_like_tiktoken(content):
        return TiktokenTokenizer(path, content)
    return SentencePieceTokenizer(path, content)


def read_tokenizer(path: Path) -> bytes:
    """Return the content of a tokenizer's file.

    Raises:
        DataInvalid: It can't be read, or is far too large for one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise _unusable(path, f"can't be read: {error.strerror or error}") from None
    if len(content) > _LARGEST:
        raise _unusable(path, f"has more than {_LARGEST // 2**20} MiB and can't be one")
    return content


def places_by(config: Path) -> list[Path]:
    """Return where the tokenizer of a `config.yaml` may lie, the likeliest first.

    That is the file that its `dataset.bpe_model` names, and the vocabulary of IndexTTS-2.5, whose
    program knows the name by heart, whatever the configuration says.
    """
    try:
        document = yaml.safe_load(config.read_text(encoding="utf-8"))
        name = document["dataset"]["bpe_model"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        name = None
    named = [config.parent / name] if isinstance(name, str) and name else []
    by_heart = config.parent / VOCABULARY_FILE
    return [*named, *([by_heart] if by_heart.is_file() and by_heart not in named else [])]


def _unusable(path: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The tokenizer {path} {what}.",
        "Its pieces define the text ids and the size of the vocabulary.",
        "Name the file the manifests were made with: a `.model` of SentencePiece, or the `.tiktoken` of "
        "IndexTTS-2.5.",
    )
