"""Reads lists of recordings: LJSpeech's `metadata.csv` and JSON Lines.

- CSV: `id|text|normalised text|speaker|language`, the last three optional and without quoting; or
  any of these columns, and `audio`, in the order of a first line that names them. The recording of
  a line without `audio` is `<id>` with an audio suffix in `wavs/` beside the file.
- JSON Lines: objects with `text`, `audio` (or `audio_path`), and optionally `id` (default: the
  name of the recording), `speaker` and `language`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken import DataInvalid

METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
"""Names of the list if the source is a directory."""
_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
_CSV_COLUMNS = ("id", "text", "normalised_text", "speaker", "language")
_ONE_SPEAKER = "speaker"
_LONGEST_ID_BYTES = 200
_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One line of a source."""

    id: str
    """Unique, and a valid file name on every system."""
    audio: Path
    """The recording."""
    text: str
    """As written, not normalised."""
    speaker: str
    """Name of the speaker."""
    language: str
    """Lower-case language tag."""
    where: str
    """File and line, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFault:
    """Why one recording can't be used."""

    where: str
    """File and line, or the recording."""
    what: str
    """The fault."""
    id: str = ""
    """The utterance, if it is known and no other recording has its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The usable lines of a list, and the faults of the others."""

    utterances: list[Utterance]
    """The utterances, in the order of the file."""
    faults: list[RecordingFault]
    """The faults of other lines."""


def metadata_of(source: Path) -> Path:
    """Return the list itself, also if the source is a directory that contains one.

    Raises:
        DataInvalid: There is none.
    """
    if source.is_file():
        return source
    for name in METADATA_NAMES:
        if (source / name).is_file():
            return source / name
    found = "doesn't exist" if not source.exists() else "has none of " + ", ".join(METADATA_NAMES)
    raise DataInvalid(
        f"The source {source} {found}.",
        "The list assigns a text to each recording.",
        "Name a metadata.csv or a .jsonl file, or a directory that contains one.",
    )


def _json_rows(lines: list[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            yield number, f"is not JSON ({error})"
            continue
        yield number, row if isinstance(row, dict) else "is not a JSON object"


def _csv_rows(lines: list[str]) -> Iterator[tuple[int, dict[str, Any] | str]]:
    columns: tuple[str, ...] = _CSV_COLUMNS
    for number, line in enumerate(lines, start=1):
        fields = [field.strip() for field in line.rstrip("\r\n").split("|")]
        if number == 1 and fields[0].lower() == "id":
            columns = tuple(field.lower().replace(" ", "_") for field in fields)
        elif line.strip() and not 2 <= len(fields) <= len(columns):
            yield number, f"has {len(fields)} fields separated by |, not 2 to {len(columns)}"
        elif line.strip():
            yield number, dict(zip(columns, fields, strict=False))


def _id_fault(name: str) -> str | None:
    size = len(name.encode())
    if _FORBIDDEN.search(name) or name.strip(" .") != name or _DEVICE.fullmatch(name):
        return f"has the id {name!r}, which is not a valid file name on every system"
    if size > _LONGEST_ID_BYTES:
        return f"has an id of {size} bytes, more than {_LONGEST_ID_BYTES}"
    return None


def _text_of(row: dict[str, Any], *names: str) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, str | int) and str(value).strip():
            return str(value).strip()
    return ""


def _beside(directory: Path, name: str) -> Path:
    for suffix in _SUFFIXES:
        if (directory / f"{name}{suffix}").is_file():
            return directory / f"{name}{suffix}"
    return directory / f"{name}{_SUFFIXES[0]}"


class _Reader:
    def __init__(self, metadata: Path, audio_dir: Path | None, language: str) -> None:
        self._metadata = metadata
        self._audio_dir = audio_dir
        self._language = language
        self._lines_of: dict[str, int] = {}

    def utterance(self, number: int, row: dict[str, Any]) -> Utterance | str:
        """Return the utterance of a row, or a description of its fault."""
        audio_name = _text_of(row, "audio", "audio_path", "audio_filepath")
        name = _text_of(row, "id") or Path(audio_name.replace("\\", "/")).stem
        text = _text_of(row, "normalised_text", "normalized_text", "text")
        fault = self._fault(number, name, text)
        if fault:
            return fault
        return Utterance(
            id=name,
            audio=self._audio(name, audio_name),
            text=text,
            speaker=_text_of(row, "speaker", "speaker_id") or _ONE_SPEAKER,
            language=(_text_of(row, "language", "lang") or self._language).lower(),
            where=f"{self._metadata}:{number}",
        )

    def _fault(self, number: int, name: str, text: str) -> str | None:
        if not name:
            return "has neither an id nor a recording"
        if not text:
            return f"({name}) has no text"
        fault = _id_fault(name)
        if fault:
            return fault
        # File systems may ignore case and composition, so two such ids would share one file.
        key = unicodedata.normalize("NFC", name).casefold()
        first = self._lines_of.setdefault(key, number)
        if first != number:
            return f"has the id {name!r}, which line {first} also has, perhaps in another case"
        return None

    def _audio(self, name: str, audio_name: str) -> Path:
        root = self._audio_dir
        if audio_name:
            return (root or self._metadata.parent) / audio_name
        return _beside(root or self._metadata.parent / "wavs", name)


def read_source(source: Path, *, language: str, audio_dir: Path | None = None) -> Source:
    """Read a list of recordings; the recordings themselves are not opened.

    Args:
        source: A `.csv` or `.jsonl` file, or a directory that contains one.
        language: Language of lines that don't name one.
        audio_dir: Directory of the recordings, if not that of the list.

    Raises:
        DataInvalid: There is no list, it can't be read, or it is empty.
    """
    metadata = metadata_of(source)
    try:
        lines = metadata.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataInvalid(
            f"The list {metadata} can't be read ({error}).",
            "It assigns a text to each recording.",
            "Save it as UTF-8 text.",
        ) from error
    rows = _csv_rows(lines) if metadata.suffix.lower() == ".csv" else _json_rows(lines)
    reader = _Reader(metadata, audio_dir, language)
    utterances, faults = [], []
    for number, row in rows:
        result = row if isinstance(row, str) else reader.utterance(number, row)
        if isinstance(result, str):
            faults.append(RecordingFault(where=f"{metadata}:{number}", what=f"the line {result}"))
        else:
            utterances.append(result)
    if not utterances and not faults:
        raise DataInvalid(
            f"The list {metadata} is empty.",
            "There is nothing to prepare.",
            "Write one line for each recording.",
        )
    return Source(utterances=utterances, faults=faults)
