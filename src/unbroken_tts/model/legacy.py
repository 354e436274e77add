"""Training checkpoints of the earlier trainer: `latest.pth` and `model_step{N}.pth`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unbroken.errors import DataInvalid
from unbroken_tts.model.archive import read_archive
from unbroken_tts.model.base import BaseWeights, base_weights

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyCheckpoint:
    """What such a file says; what it does not say is None."""

    weights: BaseWeights
    """The model."""
    step: int
    """Optimiser steps done."""
    epoch: int
    """Index of the epoch it would go on in, from 0."""
    batch_index: int
    """Next batch within that epoch, in micro-batches of the old size."""
    batch_size: int | None
    """Samples of a micro-batch; only `latest.pth` has it."""
    grad_accumulation: int | None
    """Micro-batches of a step; only `latest.pth` has it."""
    tokenizer: str | None
    """Path of the tokenizer on the machine it was made on; only `model_step{N}.pth` has it."""
    manifests: dict[str, Any] | None
    """{train: [...], val: [...]} of {path, count, languages}."""
    optimizer: dict[str, Any]
    """State of AdamW: {state: {parameter index: ...}, param_groups: [...]}, as stored."""
    scheduler: dict[str, Any]
    """State of the schedule, as stored."""
    scaler: dict[str, Any] | None
    """State of the gradient scaler, as stored; fp16 runs only."""
    random: dict[str, Any] | None
    """States of the random generators, as stored; only `latest.pth` has them."""
    last_losses: dict[str, Any] | None
    """Losses of the last micro-batch of the step; only `model_step{N}.pth` has them."""


def read_legacy(path: Path) -> LegacyCheckpoint:
    """Read a checkpoint of the earlier trainer, executing nothing from it.

    Raises:
        DataInvalid: The file is missing, damaged, or not such a checkpoint.
    """
    content = read_archive(path)
    fields = _Fields(content, path)
    extra = fields.mapping(content, "extra") or {}
    return LegacyCheckpoint(
        weights=base_weights(fields.required(content, "model", dict), origin=str(path)),
        step=fields.required(content, "step", int),
        epoch=fields.required(content, "epoch", int),
        batch_index=fields.required(content, "batch_idx", int),
        batch_size=fields.optional(content, "batch_size", int),
        grad_accumulation=fields.optional(content, "grad_accumulation", int),
        tokenizer=fields.optional(extra, "tokenizer", str),
        manifests=fields.mapping(content, "manifests") or fields.mapping(extra, "manifests"),
        optimizer=fields.required(content, "optimizer", dict),
        scheduler=fields.required(content, "scheduler", dict),
        scaler=fields.mapping(content, "scaler"),
        random=fields.mapping(content, "rng_state"),
        last_losses=fields.mapping(content, "last_losses"),
    )


class _Fields:
    """Takes values of a stated type out of what was read."""

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        self.names = ", ".join(sorted(content)[:12])
        self.path = path

    def optional(self, values: dict[str, Any], name: str, kind: type) -> Any:
        value = values.get(name)
        if value is not None and not isinstance(value, kind):
            raise self._refusal(f"has {name} = {value!r}, which is no {kind.__name__}")
        return value

    def required(self, values: dict[str, Any], name: str, kind: type) -> Any:
        if values.get(name) is None:
            raise self._refusal(f"has no `{name}`, only {self.names}")
        return self.optional(values, name, kind)

    def mapping(self, values: dict[str, Any], name: str) -> dict[str, Any] | None:
        value: dict[str, Any] | None = self.optional(values, name, dict)
        return value

    def _refusal(self, what: str) -> DataInvalid:
        return DataInvalid(
            f"The checkpoint {self.path} {what[:300]}.",
            "It is not a training checkpoint of the earlier trainer, so nothing of it was used.",
            "Name its latest.pth or model_step{N}.pth; a gpt.pth goes with --base-checkpoint.",
        )
