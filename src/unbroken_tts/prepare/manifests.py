"""Writes the single-utterance and the paired manifests of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken import DataInvalid
from unbroken_tts.prepare.features import feature_path
from unbroken_tts.prepare.pairs import Row, is_validation, make_pairs
from unbroken_tts.prepare.records import UtteranceRecord
from unbroken_tts.prepare.written import write_json_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestCounts:
    """The number of lines of each manifest."""

    train_utterances: int
    """Lines of `train.jsonl`."""
    val_utterances: int
    """Lines of `val.jsonl`."""
    train_pairs: int
    """Lines of `train_pairs.jsonl`."""
    val_pairs: int
    """Lines of `val_pairs.jsonl`."""


def _row(record: UtteranceRecord) -> dict[str, Any]:
    """Return the line of a finished recording in the single-utterance manifest."""
    return {
        "id": record.id,
        "audio_path": record.audio_path,
        "text": record.text,
        "speaker": record.speaker,
        "language": record.language,
        "duration": record.duration,
        "text_ids_path": feature_path("text_ids", record.id),
        "text_len": record.text_len,
        "codes_path": feature_path("codes", record.id),
        "code_len": record.code_len,
        "condition_path": feature_path("condition", record.id),
        "condition_len": record.condition_len,
        "emo_vec_path": feature_path("emo_vec", record.id),
    }


def write_manifests(
    output: Path, records: Sequence[UtteranceRecord], val_ratio: float, pairs_per_target: int
) -> ManifestCounts:
    """Split the records into training and validation, make pairs, and write the four manifests.

    Args:
        output: Directory of the data set; paths in the manifests are relative to it.
        records: All recordings of the data set, by id.
        val_ratio: Share of utterances held back for validation.
        pairs_per_target: Number of prompts for each target.

    Raises:
        DataInvalid: There is no pair to train on.
    """
    sides: dict[str, list[Row]] = {"train": [], "val": []}
    rows = [_row(record) for record in records]
    for row in rows:
        sides["val" if is_validation(str(row["id"]), val_ratio) else "train"].append(row)
    pairs = {side: make_pairs(own, pairs_per_target) for side, own in sides.items()}
    if not pairs["train"]:
        speakers = len({row["speaker"] for row in rows})
        raise DataInvalid(
            f"No pair can be made of {len(sides['train'])} training utterances by {speakers} "
            "speakers.",
            "A target needs another recording of the same speaker as its prompt.",
            "Give more recordings per speaker, or lower --val-ratio.",
        )
    for side in ("train", "val"):
        write_json_lines(output / f"{side}.jsonl", sides[side])
        write_json_lines(output / f"{side}_pairs.jsonl", pairs[side])
    return ManifestCounts(
        train_utterances=len(sides["train"]),
        val_utterances=len(sides["val"]),
        train_pairs=len(pairs["train"]),
        val_pairs=len(pairs["val"]),
    )
