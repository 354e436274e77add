"""The faults of manifests and arrays, and the error that reports them all at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from unbroken import DataInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LISTED_FAULTS = 20
"""Largest number of faults listed in an error message; `write_faults` lists all."""


class FaultKind(StrEnum):
    """The kinds of faults, as shown to the user."""

    MISSING_FILE = "missing file"
    UNREADABLE = "unreadable file"
    PICKLED = "pickled array"
    MALFORMED_LINE = "malformed line"
    UNPAIRED_LINE = "unpaired line"
    EMPTY_MANIFEST = "empty manifest"
    WRONG_DTYPE = "wrong dtype"
    WRONG_SHAPE = "wrong shape"
    WRONG_LENGTH = "length field differs"
    OUTSIDE_VOCABULARY = "id outside vocabulary"
    CONTROL_ID = "start or stop id within a text"
    NO_LANGUAGE = "text without a language token"
    OTHER_LANGUAGE = "text of another language than its line says"
    OUTSIDE_CODE_BOOK = "code outside code book"
    TOO_LONG = "too long"
    NON_FINITE = "non-finite value"
    DUPLICATE_ID = "duplicate pair id"
    PROMPT_IS_TARGET = "prompt equals target"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SampleFault:
    """One fault of one line of a manifest."""

    manifest: str
    """The manifest as the user named it, without its language suffix."""
    line: int
    """Line in the manifest, counting from 1; 0 means the manifest as a whole."""
    kind: FaultKind
    """The kind of fault."""
    detail: str
    """What was found, with both values and the file it was found in."""
    pair_id: str = ""
    """The id of the pair; empty where the line has none."""

    @property
    def where(self) -> str:
        """Return `manifest:line`, or the manifest alone for a fault of the whole file."""
        return f"{self.manifest}:{self.line}" if self.line else self.manifest

    def __str__(self) -> str:
        """Return the fault as one line."""
        pair = f" [{self.pair_id}]" if self.pair_id else ""
        return f"{self.where}: {self.kind}{pair}: {self.detail}"


class FaultsFound(DataInvalid):
    """Manifests or arrays are faulty; `faults` contains every fault.

    Args:
        faults: All faults, in the order of the manifests and lines; at least one.
        subject: What was checked, such as "150 lines in 1 manifest".
        why: As in `UnbrokenError`.
        remedy: As in `UnbrokenError`.
    """

    def __init__(self, faults: Sequence[SampleFault], subject: str, why: str, remedy: str) -> None:
        super().__init__(f"{subject}: {fault_table(faults)}", why, remedy)
        self.faults = tuple(faults)


def fault_counts(faults: Sequence[SampleFault]) -> dict[str, int]:
    """Return the number of faults of each kind, the most frequent first."""
    counted = Counter(fault.kind.value for fault in faults)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def fault_table(faults: Sequence[SampleFault], listed: int = LISTED_FAULTS) -> str:
    """Return the counts of all kinds in one line, then up to `listed` faults, one per line.

    Each kind gets an equal share of the lines, so that a frequent kind doesn't hide a rare one.
    Within a kind the first faults are listed; the order stays as given.
    """
    counts = ", ".join(f"{count} x {kind}" for kind, count in fault_counts(faults).items())
    lines = [f"{len(faults)} fault{'s' if len(faults) != 1 else ''} ({counts})"]
    turn: Counter[FaultKind] = Counter()
    turns = []
    for index, fault in enumerate(faults):
        turns.append((turn[fault.kind], index))
        turn[fault.kind] += 1
    shown = sorted(index for _, index in sorted(turns)[:listed])
    lines += [f"  {faults[index]}" for index in shown]
    if len(faults) > listed:
        lines.append(f"  ... and {len(faults) - listed} more")
    return "\n".join(lines)


def write_faults(faults: Sequence[SampleFault], path: Path) -> None:
    """Write every fault as one line of a text file, replacing the file.

    Args:
        faults: The faults, in the order of the lines.
        path: The text file; UTF-8 with one line feed at line ends on every system.
    """
    text = "".join(f"{fault}\n" for fault in faults)
    path.write_text(text, encoding="utf-8", newline="\n", errors="backslashreplace")
