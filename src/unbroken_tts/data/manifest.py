"""Reads paired manifests (JSON Lines) into columns; opens no array."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unbroken.errors import SettingsInvalid
from unbroken_tts.data.faults import Fault, FaultKind, FaultsFound
from unbroken_tts.data.pairs import Pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LANGUAGE_SUFFIX = re.compile(r"(?P<path>.+)::(?P<language>[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*)")
_LONGEST = 2**31 - 1
_SHOWN = 60


class ManifestArgument(NamedTuple):
    """A manifest as named on the command line."""

    path: str
    """The file, as the user wrote it."""
    language: str
    """Default language of its lines in lower case; empty without a suffix."""


class _Row(NamedTuple):
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


class _MalformedError(Exception):
    """A line is not what the contract says; the message says how."""


def parse_argument(argument: str) -> ManifestArgument:
    """Split a manifest argument into path and default language.

    `::lang` at the very end is a language where `lang` looks like a language tag: 2 to 8 ASCII
    letters, then perhaps subtags behind `-` or `_` (`am`, `zh-Hant`). Everything else belongs to
    the path, so `C:/x`, `lang=am/x`, `a@b` and `x::$DATA` stay whole; and so does an argument
    that, suffix and all, names an existing file.
    """
    matched = _LANGUAGE_SUFFIX.fullmatch(argument)
    if matched is None or os.path.lexists(argument):
        return ManifestArgument(argument, "")
    return ManifestArgument(matched["path"], matched["language"].lower())


def load_pairs(manifests: Sequence[str]) -> Pairs:
    """Read paired manifests, one after the other, into columns.

    Args:
        manifests: Manifest arguments as `parse_argument` understands them. Relative paths inside
            a manifest start at its directory. Blank lines and a byte order mark are ignored.

    Raises:
        SettingsInvalid: No manifest is named.
        FaultsFound: A manifest is missing or empty, a line is malformed or unpaired; everything
            that is wrong in any of the manifests is reported together.
    """
    if not manifests:
        raise SettingsInvalid(
            "No manifest was named.",
            "Without samples there is nothing to train or evaluate on.",
            "Name at least one paired manifest, such as `--train-manifest train_pairs.jsonl`.",
        )
    arguments = [parse_argument(manifest) for manifest in manifests]
    # One flat list: 150,000 living tuples would cost the garbage collector half a second.
    cells: list[Any] = []
    faults: list[Fault] = []
    counts: list[int] = []
    line_numbers: list[int] = []
    for argument in arguments:
        before = len(line_numbers)
        for number, found in _rows(argument):
            if isinstance(found, Fault):
                faults.append(found)
            else:
                cells.extend(found)
                line_numbers.append(number)
        counts.append(len(line_numbers) - before)
    if faults:
        raise _report(faults, len(line_numbers), len(arguments))
    return _columns(arguments, counts, line_numbers, cells)


def _rows(argument: ManifestArgument) -> Iterator[tuple[int, _Row | Fault]]:
    """Yield every line's row or fault with its number; a file's own fault with number 0."""

    def fault(line: int, kind: FaultKind, detail: str) -> tuple[int, Fault]:
        return line, Fault(manifest=argument.path, line=line, kind=kind, detail=detail)

    try:
        with open(argument.path, "rb") as file:  # noqa: PTH123 - keeps the user's own spelling
            content = file.read().removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError:
        yield fault(0, FaultKind.MISSING_FILE, "there is no such manifest")
        return
    except (OSError, ValueError) as error:
        yield fault(0, FaultKind.UNREADABLE, f"the manifest can't be read: {error}")
        return
    join = _joiner(os.path.dirname(os.path.abspath(argument.path)))  # noqa: PTH100, PTH120 - as above
    is_empty = True
    # Split at "\n" alone: U+2028 and its kin may stand inside a JSON string.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line or line.isspace():
            continue
        is_empty = False
        try:
            record = _record(line)
            if "prompt_condition_path" in record and "target_codes_path" in record:
                yield number, _row(record, argument.language, join)
            else:
                yield fault(number, FaultKind.UNPAIRED_LINE, _unpaired(record))
        except _MalformedError as error:
            yield fault(number, FaultKind.MALFORMED_LINE, str(error))
    if is_empty:
        yield fault(0, FaultKind.EMPTY_MANIFEST, "the manifest has no lines")


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _MalformedError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise _MalformedError(f"not JSON: {error}") from None
    if type(record) is not dict:
        raise _MalformedError(f"must be a JSON object, but is {_shown(record)} instead")
    return record


def _unpaired(record: dict[str, Any]) -> str:
    missing = [
        name for name in ("prompt_condition_path", "target_codes_path") if name not in record
    ]
    return f"has no {' and no '.join(f'`{name}`' for name in missing)}"


def _row(record: dict[str, Any], default_language: str, join: Callable[[str], str]) -> _Row:
    pair_id = _required(record, "id")
    emo_name = "prompt_emo_vec_path" if record.get("prompt_emo_vec_path") else "target_emo_vec_path"
    text = record.get("target_text")
    return _Row(
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
    """Return a string that can be part of a path, of a digest and of a line of text."""
    value = record.get(name)
    if type(value) is str and value and value.isascii() and value.isprintable():
        return value
    if type(value) is not str or not value:
        shown = _shown(value) if name in record else "missing"
        raise _MalformedError(f"`{name}` must be a non-empty string, but is {shown} instead")
    # Ids are joined by newlines where they are digested; NUL ends a path; a lone surrogate
    # ("\ud800" is legal JSON) can't be written down.
    if "\n" in value or "\r" in value or "\0" in value or not _is_encodable(value):
        raise _MalformedError(f"`{name}` holds a character that can't stand there: {_shown(value)}")
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
        raise _MalformedError(f"`{name}` must be a whole number from 0, but is {shown} instead")
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


def _joiner(base: str) -> Callable[[str], str]:
    """Return a join with `base` that keeps absolute paths and shares equal strings."""
    known: dict[str, str] = {}
    prefix = os.path.join(base, "")  # noqa: PTH118 - a Path costs 10x
    is_posix = os.sep == "/"

    def join(path: str) -> str:
        joined = known.get(path)
        if joined is None:
            is_plain = is_posix and path[0] != "/"
            joined = prefix + path if is_plain else os.path.join(base, path)  # noqa: PTH118 - as above
            known[path] = joined
        return joined

    return join


def _report(faults: list[Fault], good_lines: int, manifests: int) -> FaultsFound:
    lines = good_lines + sum(fault.line > 0 for fault in faults)
    kinds = {fault.kind for fault in faults}
    if FaultKind.UNPAIRED_LINE in kinds:
        remedy = (
            "Name paired manifests only, such as `train_pairs.jsonl`; `unbroken-tts prepare` "
            "pairs single utterances."
        )
    elif kinds == {FaultKind.MISSING_FILE}:
        remedy = "Name existing manifests; a default language is appended as `::am`."
    else:
        remedy = "Mend or remove these lines, or write the manifest again."
    return FaultsFound(
        faults,
        f"{lines} line{'s' * (lines != 1)} in {manifests} manifest{'s' * (manifests != 1)}",
        "A line that can't be read would be a sample that is never trained, in silence.",
        remedy,
    )


def _columns(
    arguments: list[ManifestArgument],
    counts: list[int],
    line_numbers: list[int],
    cells: list[Any],
) -> Pairs:
    width = len(_Row._fields)
    by_name = {name: tuple(cells[at::width]) for at, name in enumerate(_Row._fields)}
    return Pairs(
        manifests=tuple(argument.path for argument in arguments),
        manifest_numbers=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        line_numbers=np.array(line_numbers, dtype=np.int32),
        ids=by_name["id"],
        target_ids=by_name["target_id"],
        prompt_ids=by_name["prompt_id"],
        text_paths=by_name["text_path"],
        code_paths=by_name["code_path"],
        condition_paths=by_name["condition_path"],
        emo_paths=by_name["emo_path"],
        text_lengths=np.array(by_name["text_length"], dtype=np.int64),
        code_lengths=np.array(by_name["code_length"], dtype=np.int64),
        languages=by_name["language"],
        speakers=by_name["speaker"],
        texts=by_name["text"],
    )
