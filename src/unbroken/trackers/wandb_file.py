"""The local files of a run of Weights & Biases, read for the last step that they have.

Each start has a file of records in the form of a LevelDB log. Offline nothing else knows the history.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from unbroken.trackers.package import package

BLOCK = 32768
FILE_HEADER = 7
RECORD_HEADER = struct.Struct("<IHB")
"""Checksum, length, and whether the record begins or ends here."""
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def last_step(folder: Path, run_id: str) -> int | None:
    """Return the last step in the files of a run; None where it can't be known by them.

    Args:
        folder: `wandb/`, with a folder for each start, the present one among them.
        run_id: The run's id.
    """
    paths = sorted(folder.glob(f"*run-*-{run_id}/run-{run_id}.wandb"), reverse=True)
    for path in paths:
        try:
            steps = [step for step, _ in history(path)]
        except Exception:  # noqa: BLE001 -- a form that a later version may change
            return None
        if steps:
            return max(steps)
    return 0 if len(paths) > 1 else None


def history(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield step and values, as JSON by name, of each row of a file's history."""
    record = package("wandb.proto.wandb_internal_pb2", "wandb").Record
    for data in _records(path.read_bytes()):
        read = record.FromString(data)
        if read.HasField("history"):
            items = {
                (each.key or ".".join(each.nested_key)): each.value_json
                for each in read.history.item
            }
            yield int(items.pop("_step", read.history.step.num)), items


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a file, up to where it is torn."""
    place, begun = FILE_HEADER, b""
    while place + RECORD_HEADER.size <= len(data):
        left = BLOCK - place % BLOCK
        if left < RECORD_HEADER.size:
            place += left
            continue
        _, length, kind = RECORD_HEADER.unpack_from(data, place)
        place += RECORD_HEADER.size
        piece = data[place : place + length]
        if len(piece) < length or kind not in (WHOLE, FIRST, MIDDLE, LAST):
            return
        place += length
        begun = piece if kind in (WHOLE, FIRST) else begun + piece
        if kind in (WHOLE, LAST):
            yield begun
