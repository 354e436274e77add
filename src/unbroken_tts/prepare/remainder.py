"""Finds the unfinished recordings, and checks the disk space for them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from unbroken import SettingsInvalid
from unbroken_tts.prepare.codec import Codec
from unbroken_tts.prepare.features import feature_path, recording_path
from unbroken_tts.prepare.items import UsableUtterance
from unbroken_tts.prepare.plan import PreparePlan
from unbroken_tts.prepare.records import KINDS, Records, UtteranceRecord, audio_digest
from unbroken_tts.prepare.sources import RecordingFault

_BLOCK = 4_096
_MANIFEST_BYTES = 1_500
_ROOM_TO_BREATHE = 16 * 1024 * 1024


def _is_finished(record: UtteranceRecord | None, item: UsableUtterance, output: Path) -> bool:
    """Return whether a record matches this text and recording, and its files exist."""
    if record is None:
        return False
    utterance = item.utterance
    asked = (item.text, utterance.speaker, utterance.language)
    if asked != (record.text, record.speaker, record.language):
        return False
    stat = utterance.audio.stat()
    path = recording_path(utterance.audio, output)
    looks_equal = (path, stat.st_size, stat.st_mtime_ns) == (
        record.audio_path,
        record.audio_size,
        record.audio_mtime_ns,
    )
    if not looks_equal and audio_digest(utterance.audio) != record.audio_digest:
        return False
    paths = [output / feature_path(kind, record.id) for kind in KINDS]
    return all(
        path.is_file() and path.stat().st_size == size
        for path, size in zip(paths, record.sizes, strict=True)
    )


def _other_recording(
    record: UtteranceRecord | None, item: UsableUtterance, output: Path
) -> RecordingFault | None:
    """Return a fault if the id belongs to another recording, as when two corpora are merged."""
    if record is None or record.audio_path == recording_path(item.utterance.audio, output):
        return None
    if audio_digest(item.utterance.audio) == record.audio_digest:
        return None
    return RecordingFault(
        where=item.utterance.where,
        what=f"the id {record.id!r} already belongs to the recording {record.audio_path}",
    )


def unfinished(
    items: Sequence[UsableUtterance], records: Records, output: Path
) -> tuple[list[UsableUtterance], list[RecordingFault]]:
    """Return the unfinished items, and faults for ids that belong to other recordings."""
    todo, faults = [], []
    for item in items:
        record = records.by_id.get(item.utterance.id)
        fault = _other_recording(record, item, output)
        if fault:
            faults.append(fault)
        elif not _is_finished(record, item, output):
            todo.append(item)
    return todo, faults


def check_room(
    output: Path, todo: Sequence[UsableUtterance], plan: PreparePlan, codec: Codec
) -> None:
    """Check that the disk has room for the features of `todo`.

    Raises:
        SettingsInvalid: It hasn't.
    """

    def on_disk(size: float) -> float:
        return (size + 128) // _BLOCK * _BLOCK + _BLOCK

    rows, width = plan.config.condition_shape
    each = on_disk(rows * width * 4) + on_disk(plan.config.model_dim * 4)
    manifests = _MANIFEST_BYTES * (2 + plan.pairs_per_target)
    needed = sum(
        each
        + on_disk(item.seconds * codec.codes_per_second * 4)
        + on_disk(len(item.text) * 4)
        + manifests
        for item in todo
    )
    free = shutil.disk_usage(output).free
    if todo and needed + _ROOM_TO_BREATHE > free:
        raise SettingsInvalid(
            f"{len(todo)} recordings need about {needed / 1e9:.2f} GB of features in {output}, "
            f"and the disk has {free / 1e9:.2f} GB free.",
            "The preparation would stop in the middle.",
            "Free some space, or name a directory on another disk with --output.",
        )
