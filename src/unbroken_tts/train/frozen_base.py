"""Is a base that is named at a resume the one whose frozen layers the run has?

A checkpoint holds the frozen layers too, so a resume doesn't read the base. But who names another one
expects it to act, and it can't.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from unbroken import ResumeRefused
from unbroken_tts.model.base import BaseWeights, read_base
from unbroken_tts.model.gpt_file import TEXT_TENSORS
from unbroken_tts.model.trained_part import TrainedPart
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.part import TRAINED_PART, saved_part


def frozen_digest(base: BaseWeights, part: TrainedPart) -> str:
    """Return a digest over the layers of a base that a run doesn't train, without the text tables."""
    whole = xxhash.xxh3_128()
    for name, tensor in sorted(base.trained.items()):
        if not part.trains(name) and name not in TEXT_TENSORS:
            whole.update(name.encode() + b"\0" + tensor.contiguous().numpy().tobytes())
    return whole.hexdigest()


def require_same_base(asked: TrainSettings, facts: Mapping[str, Any]) -> None:
    """Refuse a base that was named at a resume and has other frozen layers than the run.

    Args:
        asked: The settings requested at this start.
        facts: Of the run to continue.

    Raises:
        DataInvalid: The file is damaged.
        ResumeRefused: It has other layers.
    """
    part, began = saved_part(facts), facts.get(TRAINED_PART, {}).get("base")
    path = Path(asked.base_checkpoint)
    is_named = "base_checkpoint" in asked.model_fields_set and path.is_file()
    if part is None or began is None or not is_named:
        return
    if path.resolve() == Path(facts["base"]).resolve() or began == frozen_digest(
        read_base(path), part
    ):
        return
    raise ResumeRefused(
        f"--base-checkpoint {path} has other layers than the base that the run began from, "
        f"{facts['base']}.",
        "The run trains on frozen layers of its own base, which its checkpoints hold; what it has "
        "learnt fits no others. Nothing was changed.",
        "Omit --base-checkpoint, or name the run's. To train on another base begin a new run: without "
        "--resume, with another --output-dir.",
    )
