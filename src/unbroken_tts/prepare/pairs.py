"""Chooses the recordings for validation, and the prompts of each target."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
"""One line of a single-utterance manifest."""


def _sha1(text: str) -> int:
    return int(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), 16)


def is_validation(utterance_id: str, val_ratio: float) -> bool:
    """Return whether an utterance is held back: whether SHA-1(id) mod 10^6 is below the ratio.

    The rule of the earlier preparation tools, so an utterance never changes sides.
    """
    return (_sha1(utterance_id) % 1_000_000) / 1_000_000 < val_ratio


def _prompts_of(target: Row, group: Sequence[Row], place: int, count: int) -> list[Row]:
    """Return up to `count` distinct others of the group, chosen by the target's id."""
    others = len(group) - 1
    seed = _sha1(f"prompt {target['id']}")
    start, stride = seed % others, 1 + (seed >> 64) % others
    chosen: list[int] = []
    offset = start
    while len(chosen) < min(count, others):
        while offset in chosen:
            offset = (offset + 1) % others
        chosen.append(offset)
        offset = (offset + stride) % others
    return [group[(place + 1 + distance) % len(group)] for distance in chosen]


def _pair(target: Row, prompt: Row) -> dict[str, Any]:
    return {
        "id": f"{target['id']}__{prompt['id']}",
        "speaker": target["speaker"],
        "language": target["language"],
        "prompt_id": prompt["id"],
        "prompt_audio_path": prompt["audio_path"],
        "prompt_condition_path": prompt["condition_path"],
        "prompt_condition_len": prompt["condition_len"],
        "prompt_emo_vec_path": prompt["emo_vec_path"],
        "prompt_duration": prompt["duration"],
        "prompt_language": prompt["language"],
        "target_id": target["id"],
        "target_audio_path": target["audio_path"],
        "target_text": target["text"],
        "target_text_ids_path": target["text_ids_path"],
        "target_text_len": target["text_len"],
        "target_codes_path": target["codes_path"],
        "target_code_len": target["code_len"],
        "target_emo_vec_path": target["emo_vec_path"],
        "target_language": target["language"],
    }


def make_pairs(rows: Sequence[Row], pairs_per_target: int) -> list[dict[str, Any]]:
    """Pair every target with prompts of the same speaker, never with itself.

    Speakers with one utterance give no pair: with the target as its own prompt, a model would learn
    to copy the prompt.

    Args:
        rows: Lines of a single-utterance manifest.
        pairs_per_target: Number of distinct prompts for each target; fewer if the speaker has fewer.

    Returns:
        Lines of a paired manifest, by target id; the same for the same rows in any order.
    """
    speakers: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: str(row["id"])):
        speakers.setdefault(row["speaker"], []).append(row)
    pairs = [
        _pair(target, prompt)
        for group in speakers.values()
        if len(group) > 1
        for place, target in enumerate(group)
        for prompt in _prompts_of(target, group, place, pairs_per_target)
    ]
    return sorted(pairs, key=lambda pair: (pair["target_id"], pair["id"]))
