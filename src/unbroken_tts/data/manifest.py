"""Reads paired manifests (JSON Lines) into columns; opens no array."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unbroken import SettingsInvalid
from unbroken_tts.data.faults import FaultKind, FaultsFound, SampleFault
from unbroken_tts.data.manifest_line import MalformedError, ManifestRow, UnpairedError, parse_line
from unbroken_tts.data.pairs import Pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LANGUAGE_SUFFIX = re.compile(r"(?P<path>.+)::(?P<language>[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*)")


class ManifestArgument(NamedTuple):
    """A manifest as named on the command line."""

    path: str
    """The file, as the user wrote it."""
    language: str
    """Default language of its lines in lower case; empty without a suffix."""


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
    faults: list[SampleFault] = []
    counts: list[int] = []
    line_numbers: list[int] = []
    for argument in arguments:
        before = len(line_numbers)
        for number, found in _rows(argument):
            if isinstance(found, SampleFault):
                faults.append(found)
            else:
                cells.extend(found)
                line_numbers.append(number)
        counts.append(len(line_numbers) - before)
    if faults:
        raise _report(faults, len(line_numbers), len(arguments))
    return _columns(arguments, counts, line_numbers, cells)


def _rows(argument: ManifestArgument) -> Iterator[tuple[int, ManifestRow | SampleFault]]:
    """Yield every line's row or fault with its number; a file's own fault with number 0."""

    def fault(line: int, kind: FaultKind, detail: str) -> tuple[int, SampleFault]:
        return line, SampleFault(manifest=argument.path, line=line, kind=kind, detail=detail)

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
            yield number, parse_line(line, argument.language, join)
        except UnpairedError as error:
            yield fault(number, FaultKind.UNPAIRED_LINE, str(error))
        except MalformedError as error:
            yield fault(number, FaultKind.MALFORMED_LINE, str(error))
    if is_empty:
        yield fault(0, FaultKind.EMPTY_MANIFEST, "the manifest has no lines")


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


def _report(faults: list[SampleFault], good_lines: int, manifests: int) -> FaultsFound:
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
        remedy = "Correct or remove these lines, or write the manifest again."
    return FaultsFound(
        faults,
        f"{lines} line{'s' * (lines != 1)} in {manifests} manifest{'s' * (manifests != 1)}",
        "A line that can't be read would silently be a sample that is never trained on.",
        remedy,
    )


def _columns(
    arguments: list[ManifestArgument],
    counts: list[int],
    line_numbers: list[int],
    cells: list[Any],
) -> Pairs:
    width = len(ManifestRow._fields)
    by_name = {name: tuple(cells[at::width]) for at, name in enumerate(ManifestRow._fields)}
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
