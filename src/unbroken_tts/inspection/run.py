"""Inspects a run or one of its checkpoints, without loading a model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from unbroken import Checkpoint, CheckpointCorrupt, NoUsableCheckpoint, RunDirectory
from unbroken_tts.inspection.report import Inspection, count_of, training_memory
from unbroken_tts.model.adapters import plain_name
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.families import family_of
from unbroken_tts.model.gpt_file import gpt_file_shapes
from unbroken_tts.model.lora import is_of_adapter
from unbroken_tts.model.weights_file import open_weights_file
from unbroken_tts.train.load import untrained_encoders_file
from unbroken_tts.train.part import saved_part
from unbroken_tts.train.run_facts import FROZEN, OTHER_LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from unbroken_tts.model.trained_part import TrainedPart

_CHUNK = 1 << 22


def inspect_run(path: Path) -> Inspection:
    """Inspect a run's newest complete checkpoint, or the one that is named.

    Its bytes are not compared with their digests: `unbroken verify` does that.

    Raises:
        NoUsableCheckpoint: There is none.
        CheckpointCorrupt: The one that was named is damaged.
    """
    checkpoint = _checkpoint(path)
    facts = checkpoint.facts()
    config = GptConfig.from_mapping(facts["model"], origin=str(checkpoint.path))
    tensors = checkpoint.tensors("model")
    part = saved_part(facts)
    frozen = {name: each for name, each in tensors.items() if _is_frozen(name, part)}
    trained = {name: each for name, each in tensors.items() if name not in frozen}
    adapters = [each for name, each in trained.items() if is_of_adapter(name)]
    place = untrained_encoders_file(checkpoint.path.parent.parent)
    carried = open_weights_file(place).content if place.is_file() else {}
    shapes = gpt_file_shapes(config, facts["vocabulary"])
    family = family_of(shapes)
    assert family is not None  # a run's configuration has this layout
    position = checkpoint.position
    dtypes = [str(each.dtype).removeprefix("torch.") for each in tensors.values()]
    return Inspection(
        path=str(checkpoint.path),
        kind="checkpoint of a run",
        size=checkpoint.size,
        family=family.name,
        is_supported=True,
        faults=[] if carried else [f"{place} is missing: no gpt.pth can be exported"],
        vocabulary=facts["vocabulary"],
        mel_codes=config.number_mel_codes,
        precision={each: dtypes.count(each) for each in dict.fromkeys(dtypes)},
        trained=count_of(trained.values()),
        carried=count_of(carried.values()),
        frozen=count_of(frozen.values()),
        adapters=count_of(adapters),
        trained_part="" if part is None else str(part),
        frozen_rows=facts["frozen_rows"],
        position={
            "epoch": position.epoch,
            "step": position.step,
            "updates": position.updates,
            "samples": position.samples,
        },
        facts={
            "base": facts["base"],
            "computes_in": facts["execution"]["precision"],
            "tokenizer": facts["sources"]["tokenizer"],
            "average": "ema" in checkpoint.part_names(),
        },
        memory=training_memory(
            shapes, count_of(trained.values()).numbers, count_of(frozen.values()).numbers
        ),
        not_finite=_not_finite(tensors),
    )


def _checkpoint(path: Path) -> Checkpoint:
    """Return the newest checkpoint that has a manifest, or the one that is named."""
    if (path / "manifest.json").is_file():
        return Checkpoint.at(path)
    found = []
    for each in RunDirectory(path).checkpoints.glob("step-*"):
        try:
            found.append(Checkpoint.at(each))
        except CheckpointCorrupt:  # being written, or damaged: an older one is shown
            continue
    if not found:
        raise NoUsableCheckpoint(
            f"{path} contains no checkpoint and no file of weights.",
            "There is nothing to inspect.",
            "Name a file of weights, a run, or one of its checkpoints.",
        )
    return max(found, key=lambda each: (each.position.step, each.position.samples))


def _is_frozen(name: str, part: TrainedPart | None) -> bool:
    """Return whether a tensor of the model never changes, by its leaf path."""
    never = (*FROZEN, OTHER_LANGUAGES)
    if name in never or part is None:
        return name in never
    return not is_of_adapter(name) and not part.trains(plain_name(name.removeprefix("model.")))


def _not_finite(tensors: Mapping[str, Any]) -> dict[str, int]:
    """Return name -> number of values that are not finite, reading in pieces."""
    found = {}
    for name, stored in tensors.items():
        if not stored.dtype.is_floating_point:
            continue
        starts = range(0, math.prod(stored.shape), _CHUNK)
        pieces = (stored.read_flat(start, _CHUNK) for start in starts)
        count = sum(int((~torch.isfinite(piece)).sum()) for piece in pieces)
        if count:
            found[name] = count
    return found
