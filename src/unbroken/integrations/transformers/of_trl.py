"""What trainers of TRL (SFT, DPO, GRPO and others) keep beside what every `Trainer` has.

They average what they measure until the next log, count tokens, and GRPO trains several steps on what it
has generated once. Versions name these the same; one that doesn't have a name has nothing to save under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch

COUNTS: Final = ("_total_train_tokens", "_step")
"""Numbers: tokens seen, and batches by which GRPO knows when to generate."""
METRICS: Final = "_metrics"
"""What was measured since the last log, by mode and name."""
GENERATED: Final = "_buffered_inputs"
"""What GRPO has generated, for the batches of the steps until it generates again."""
SYNCED: Final = "ref_model"
"""The reference model, which `sync_ref_model` moves while training."""


def kept_by(trainer: Any) -> dict[str, Any]:
    """Return what a trainer keeps; nothing of one that is not of TRL."""
    if not _is_of_trl(trainer):
        return {}
    own = vars(trainer)
    found = {name: own[name] for name in COUNTS if isinstance(own.get(name), int | float)}
    if isinstance(own.get(METRICS), Mapping):
        found[METRICS] = {
            mode: {name: list(each) for name, each in measured.items()}
            for mode, measured in own[METRICS].items()
        }
    if own.get(GENERATED) is not None and _is_savable(own[GENERATED]):
        found[GENERATED] = own[GENERATED]
    return found


def put_back(trainer: Any, kept: Mapping[str, Any]) -> None:
    """Let a trainer go on with what it kept."""
    own = vars(trainer)
    for name in COUNTS:
        if name in kept and name in own:
            setattr(trainer, name, kept[name])
    for mode, measured in kept.get(METRICS, {}).items():
        own[METRICS][mode].clear()
        own[METRICS][mode].update(measured)
    if GENERATED in kept and GENERATED in own:
        setattr(trainer, GENERATED, _on(trainer.args.device, kept[GENERATED]))


def parts_of(trainer: Any) -> dict[str, Any]:
    """Return what moves while training and is no part of the model."""
    synced = _is_of_trl(trainer) and getattr(trainer.args, "sync_ref_model", False)
    model = getattr(trainer, SYNCED, None) if synced else None
    return {} if model is None else {SYNCED: model}


def _is_of_trl(trainer: Any) -> bool:
    return any(each.__module__.partition(".")[0] == "trl" for each in type(trainer).__mro__)


def _is_savable(value: Any) -> bool:
    """Say whether a value is made of tensors, numbers and texts: generated images are not saved."""
    if isinstance(value, Mapping):
        return all(map(_is_savable, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_savable, value))
    return value is None or isinstance(value, torch.Tensor | bool | int | float | str)


def _on(device: torch.device, value: Any) -> Any:
    """Return a value with its tensors on a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _on(device, each) for name, each in value.items()}
    return [_on(device, each) for each in value] if isinstance(value, list) else value
