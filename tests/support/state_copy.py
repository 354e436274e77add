"""A captured state as a checkpoint would give it back: through JSON, with tensors of its own."""

from __future__ import annotations

import json
from typing import Any

import torch

from unbroken.state.codec import decode, encode
from unbroken.state.digest import tensor_digest
from unbroken.state.position import Position
from unbroken.state.training_state import TrainingState


def written_and_read(captured: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a captured state, read back, and the digest of each of its tensors by leaf path."""
    saved: dict[str, Any] = {}
    digests: dict[str, str] = {}
    for name, part in captured.items():
        tensors: dict[str, torch.Tensor] = {}
        text = json.dumps(encode(part, name, tensors), allow_nan=False)
        copies = {leaf: each.detach().clone() for leaf, each in tensors.items()}
        digests |= {leaf: tensor_digest(each) for leaf, each in copies.items()}
        saved[name] = decode(json.loads(text), copies)
    return saved, digests


def hand_over(old: TrainingState, new: TrainingState) -> None:
    """Restore `new` to what `old` is."""
    saved, digests = written_and_read(old.capture())
    new.restore(saved, Position(), digests.get)
