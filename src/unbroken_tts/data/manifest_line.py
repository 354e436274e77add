"""Parses one line of a paired manifest."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 2**31 - 1
_SHOWN = 60


class ManifestRow(NamedTuple):
    """One line's fields, in the order of the columns."""

    id: str
    target_id: str
    prompt_id: str
    text_path: str
    code_path: str
    condition_path: str
    emo_path: str
    text_length: int
    code_length: int
    language: str
    speaker: str
    text: str | None


class MalformedError(Exception):
    """A line violates the format; the message says how."""


class UnpairedError(Exception):
    """A line names no prompt or no codes; the message says what is missing."""


def parse_line(line: bytes, default_language: str, join: Callable[[str], str]) -> ManifestRow:
    """Parse one line of a paired manifest.

    Args:
        line: The bytes of the line, without its line end.
        default_language: Language of a line that names none.
        join: Makes a path of the line absolute.

    Raises:
        MalformedError: The line is not a JSON object, or a field is missing or of the wrong type.
        UnpairedError: It is an object, but not of a paired manifest.
    """
    record = _record(line)
    missing = [
        name for name in ("prompt_condition_path", "target_codes_path") if name not in record
    ]
    if missing:
        raise UnpairedError(f"has no {' and no '.join(f'`{name}`' for name in missing)}")
    return _row(record, default_language, join)


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from None
    if type(record) is not dict:
        raise MalformedError(f"must be a JSON object, but is {_shown(record)} instead")
    return record


def _row(record: dict[str, Any], default_language: str, join: Callable[[str], str]) -> ManifestRow:
    pair_id = _required(record, "id")
    emo_name = "prompt_emo_vec_path" if record.get("prompt_emo_vec_path") else "target_emo_vec_path"
    text = record.get("target_text")
    return ManifestRow(
        pair_id,
        _optional(record, "target_id") or pair_id,
        _optional(record, "prompt_id"),
        join(_required(record, "target_text_ids_path")),
        join(_required(record, "target_codes_path")),
        join(_required(record, "prompt_condition_path")),
        join(_required(record, emo_name)),
        _length(record, "target_text_len"),
        _length(record, "target_code_len"),
        _language(record, default_language),
        sys.intern(_optional(record, "speaker")),
        text if isinstance(text, str) else None,
    )


def _required(record: dict[str, Any], name: str) -> str:
    """Return a string field that is valid in a path, in a digest and in a line of text."""
    value = record.get(name)
    if type(value) is str and value and value.isascii() and value.isprintable():
        return value
    if type(value) is not str or not value:
        shown = _shown(value) if name in record else "missing"
        raise MalformedError(f"`{name}` must be a non-empty string, but is {shown} instead")
    # The fingerprint joins ids by newlines; NUL ends a path; a lone surrogate ("\ud800" is
    # legal JSON) can't be encoded.
    if "\n" in value or "\r" in value or "\0" in value or not _is_encodable(value):
        raise MalformedError(f"`{name}` contains a character that isn't allowed: {_shown(value)}")
    return value


def _optional(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    return value if type(value) is str and _is_encodable(value) else ""


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _length(record: dict[str, Any], name: str) -> int:
    value = record.get(name)
    if type(value) is not int or not 0 <= value <= _LONGEST:
        shown = _shown(value) if name in record else "missing"
        raise MalformedError(f"`{name}` must be a whole number from 0, but is {shown} instead")
    return value


def _language(record: dict[str, Any], default: str) -> str:
    for name in ("target_language", "language"):
        value = _optional(record, name).strip()
        if value:
            return sys.intern(value.lower())
    return default


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, int) else f"{value:.6g}"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
