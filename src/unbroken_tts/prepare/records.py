"""Records the finished recordings, one line each.

A line is written after the last feature file of its recording. So after a kill a recording has
either all of its files and its line, or no line and is prepared again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from unbroken import AppendFile, DataInvalid
from unbroken_tts.prepare.written import disk_full_is_told, json_line

KINDS = ("codes", "condition", "emo_vec", "text_ids")
"""The feature directories; a recording's file is `<kind>/<id>.npy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceRecord:
    """A finished recording."""

    id: str
    """The utterance."""
    audio_path: str
    """The recording, relative to the output directory if possible, with `/`."""
    audio_size: int
    """Size of the recording in bytes."""
    audio_mtime_ns: int
    """Its modification time, in nanoseconds."""
    audio_digest: str
    """BLAKE2b-128 of its bytes, hexadecimal."""
    text: str
    """Normalised."""
    speaker: str
    """Name of the speaker."""
    language: str
    """Language tag."""
    duration: float
    """Seconds, of the whole recording."""
    text_len: int
    """Text ids T."""
    code_len: int
    """Codes M."""
    unknown: int
    """Number of text ids that are `<unk>`."""
    condition_len: int
    """Conditioning rows C."""
    sizes: list[int]
    """Sizes of the feature files in bytes, in the order of `KINDS`."""


def audio_digest(path: Path) -> str:
    """Return BLAKE2b-128 over a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    return digest.hexdigest()


class Records:
    """The file of finished recordings; the newest line of an id counts.

    Args:
        path: `records.jsonl` in the output directory; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.by_id: dict[str, UtteranceRecord] = {}
        self._file: AppendFile | None = None

    @contextmanager
    def opened(self) -> Iterator[Records]:
        """Read the file, truncate a torn last line, and keep the file open for appending.

        Raises:
            DataInvalid: A complete line is damaged.
        """
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            record = self._parsed(number, line)
            self.by_id[record.id] = record
        self._file = AppendFile(self._path)
        try:
            self._file.cut_torn_tail()
            yield self
        finally:
            self._file.close()

    def _parsed(self, number: int, line: bytes) -> UtteranceRecord:
        try:
            return UtteranceRecord(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise DataInvalid(
                f"Line {number} of {self._path} is damaged ({error}).",
                "The file records which recordings are finished.",
                "Delete that line: its recording is then prepared again.",
            ) from error

    def add(self, record: UtteranceRecord) -> None:
        """Record a recording as finished.

        Raises:
            SettingsInvalid: The disk is full.
        """
        assert self._file is not None  # the file is open
        with disk_full_is_told(self._path.parent):
            self._file.append(json_line(asdict(record)))
        self.by_id[record.id] = record
