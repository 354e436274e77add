"""Reads the texts that a tokenizer is trained on, extended with or judged by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unbroken import DataInvalid
from unbroken_tts.prepare.fronts import DEFAULT, front_end
from unbroken_tts.prepare.sources import read_source

AS_IT_IS = "none"
"""The language of texts that are not to be normalised."""


def read_texts(files: Sequence[Path], language: str, front: str = DEFAULT) -> list[str]:
    """Return the texts of files, normalised as `prepare` does.

    Args:
        files: Lists of recordings as `prepare` reads them (`.csv`, `.jsonl`, or a directory with one),
            of which only the texts are read; any other file has one text per line.
        language: Language of texts that don't name one; `none` leaves all texts as they are.
        front: The text front end that normalises them.

    Raises:
        DataInvalid: A file can't be read, or there is no text.
    """
    found = [
        text if language == AS_IT_IS else front_end(text, own, front)
        for file in files
        for text, own in _texts(file, language)
    ]
    kept = [text for text in found if text.strip()]
    if not kept:
        raise DataInvalid(
            f"There is no text in {', '.join(map(str, files))}.",
            "A tokenizer is made from texts, and judged by them.",
            "Name a UTF-8 text file with one text per line, or a list of recordings.",
        )
    return kept


def _texts(file: Path, language: str) -> list[tuple[str, str]]:
    if file.is_dir() or file.suffix.lower() in {".csv", ".jsonl"}:
        source = read_source(file, language=language)
        if source.faults:
            first = source.faults[0]
            raise DataInvalid(
                f"{len(source.faults)} lines of the list {file} can't be read; the first is "
                f"{first.where}: {first.what}.",
                "Their texts would be missing.",
                "Correct them, or name a text file with one text per line.",
            )
        return [(each.text, each.language) for each in source.utterances]
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataInvalid(
            f"The texts {file} can't be read ({error}).",
            "A tokenizer is made from texts, and judged by them.",
            "Name a UTF-8 text file with one text per line, or a list of recordings.",
        ) from error
    return [(line, language) for line in lines]
