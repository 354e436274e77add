"""A `latest.pth` or `model_step{N}.pth` of the earlier trainer, read without executing anything in it.

Tensors are mapped, not read: whether the file is whole is `whole.py`'s business.
"""

from __future__ import annotations

import math
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from unbroken import DataInvalid
from unbroken_tts.model.archive import read_archive

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LATEST: Final = "latest.pth"
STEP_NAME: Final = re.compile(r"model_step(\d+)\.pth")
LARGEST: Final = 10_000_000
"""Largest counter that is believed; a larger one is damage."""
SCALER: Final = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
"""What the state of `torch.amp.GradScaler` holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How the earlier trainer cut its steps."""

    batch: int
    """Samples of a micro-batch."""
    accumulation: int
    """Micro-batches of a step."""

    @property
    def effective(self) -> int:
        """Samples of a step."""
        return self.batch * self.accumulation

    def batches_per_epoch(self, samples: int) -> int:
        """Return the micro-batches of an epoch; the last, short one is kept."""
        return -(-samples // self.batch)

    def total(self, samples: int, epochs: int) -> int:
        """Return the steps that the earlier trainer planned for so many epochs."""
        return epochs * self.batches_per_epoch(samples) // self.accumulation

    def steps_at(self, samples: int, epoch: int, batch_idx: int) -> int:
        """Return the steps done after whole epochs and `batch_idx` micro-batches of the next.

        A step ends where the number of micro-batches within the epoch is a multiple of the
        accumulation, so what is left over at the end of an epoch ends no step of its own.
        """
        each = self.batches_per_epoch(samples) // self.accumulation
        return epoch * each + batch_idx // self.accumulation

    def __str__(self) -> str:
        return f"{self.batch} x {self.accumulation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OldCheckpoint:
    """What one file holds; counters are checked, tensors are not."""

    path: Path
    step: int
    """Optimiser steps done."""
    epoch: int
    """Number of the epoch it stood in, from 0."""
    batch_idx: int
    """Micro-batches done in that epoch."""
    last_epoch: int
    """The scheduler's own counter."""
    base_rate: float
    """Peak learning rate."""
    rate: float
    """Learning rate of the next update."""
    options: Mapping[str, Any]
    """Of the optimiser's one group, without its parameters."""
    moments: Mapping[int, Mapping[str, Any]]
    """By index of the parameter."""
    model: Mapping[str, Any]
    """The whole state dict."""
    scaler: Mapping[str, Any] | None
    """State of a gradient scaler; None where none was used."""
    geometry: Geometry | None
    """How steps were cut; only `latest.pth` has it."""
    samples: int | None
    """Lines of the training manifests; None where the file doesn't say."""
    tokenizer: str | None
    """Where the tokenizer was; only `model_step{N}.pth` has it."""
    precision: str | None
    """Name of the dtype of autocast; only `model_step{N}.pth` has it."""

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name


def read_old(path: Path) -> OldCheckpoint:
    """Read a file of the earlier trainer.

    Raises:
        DataInvalid: It is missing, damaged or foreign, contains more than the earlier trainer wrote,
            or its counters are impossible.
    """
    if path.is_file() and not zipfile.is_zipfile(path):
        raise refusal(
            path, "is truncated, or no archive of PyTorch: its table of contents is missing"
        )
    content = read_archive(path)
    missing = [key for key in ("model", "optimizer", "scheduler", "step") if key not in content]
    if missing:
        raise refusal(path, f"is no checkpoint of the earlier trainer: it lacks {missing[0]!r}")
    group, moments = _optimizer(path, content["optimizer"])
    schedule = _mapping(path, content["scheduler"], "scheduler")
    extra = _optional(content.get("extra"))
    step = _count(path, content, "step")
    named = STEP_NAME.fullmatch(path.name)
    if named and int(named[1]) != step:
        raise refusal(path, f"holds step {step}, which is not the step of its name")
    last_epoch = _count(path, schedule, "last_epoch")
    if last_epoch > step:
        raise refusal(path, f"holds step {step}, but its schedule has moved on {last_epoch} times")
    return OldCheckpoint(
        path=path,
        step=step,
        epoch=_count(path, content, "epoch"),
        batch_idx=_count(path, content, "batch_idx"),
        last_epoch=last_epoch,
        base_rate=_rate(path, schedule, "base_lrs"),
        rate=_rate(path, schedule, "_last_lr"),
        options={name: each for name, each in group.items() if name != "params"},
        moments=moments,
        model=_mapping(path, content["model"], "model"),
        scaler=_scaler(path, content.get("scaler")),
        geometry=_geometry(path, content),
        samples=_samples(_optional(content.get("manifests")) or extra.get("manifests")),
        tokenizer=_text(extra.get("tokenizer")),
        precision=_text(extra.get("amp_dtype")),
    )


def refusal(path: Path, what: str) -> DataInvalid:
    """Return the error about a file that can't be gone on from."""
    return DataInvalid(
        f"{path} {what}.",
        "Going on from it would be another training.",
        "Name an intact latest.pth or model_step{N}.pth of the earlier trainer.",
    )


def _optimizer(path: Path, state: Any) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    optimizer = _mapping(path, state, "optimizer")
    groups, moments = optimizer.get("param_groups"), optimizer.get("state")
    if (
        not isinstance(groups, list)
        or len(groups) != 1
        or not isinstance(groups[0], dict)
        or not isinstance(moments, dict)
        or not all(type(key) is int and isinstance(each, dict) for key, each in moments.items())
    ):
        raise refusal(path, "has an optimizer that is not one AdamW with one group of parameters")
    decay = groups[0].get("weight_decay")
    if not _is_rate(decay):
        raise refusal(path, f"has {decay!r} as weight decay")
    return groups[0], moments


def _mapping(path: Path, value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise refusal(path, f"has a {type(value).__name__} as {name!r}, not named values")
    return dict(value)


def _optional(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(path: Path, content: Mapping[str, Any], name: str) -> int:
    value = content.get(name)
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise refusal(path, f"has {value!r} as {name!r}, not a number from 0 to {LARGEST}")
    return value


def _rate(path: Path, content: Mapping[str, Any], name: str) -> float:
    value = content.get(name)
    rate = value[0] if isinstance(value, list) and len(value) == 1 else None
    if rate is None or not _is_rate(rate):
        raise refusal(path, f"has {value!r} as {name!r}, not one learning rate")
    return float(rate)


def _is_rate(value: Any) -> bool:
    """Say whether a value is a finite number from 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0


def _scaler(path: Path, value: Any) -> dict[str, Any] | None:
    if value is None or (isinstance(value, dict) and not value):  # empty where it was switched off
        return None
    state = _mapping(path, value, "scaler")
    if set(state) != SCALER or not all(map(_is_rate, state.values())):
        raise refusal(path, f"has {state!r} as state of its gradient scaler")
    return state


def _geometry(path: Path, content: Mapping[str, Any]) -> Geometry | None:
    if "batch_size" not in content or "grad_accumulation" not in content:
        return None
    batch, accumulation = (_count(path, content, n) for n in ("batch_size", "grad_accumulation"))
    if not batch or not accumulation:
        raise refusal(path, f"says that it was trained with {batch} x {accumulation} samples")
    return Geometry(batch=batch, accumulation=accumulation)


def _samples(manifests: Any) -> int | None:
    """Return the lines of the training manifests, if the file says them in a believable way."""
    train = _optional(manifests).get("train")
    counts = [_optional(each).get("count") for each in train] if isinstance(train, list) else []
    known = [each for each in counts if type(each) is int and 0 <= each <= LARGEST]
    return sum(known) or None if len(known) == len(counts) else None
