"""A captured state as a checkpoint would give it back: through JSON, with tensors of its own."""

from __future__ import annotations

import json
from typing import Any

import torch

from unbroken.checks.state import compare_state
from unbroken.checks.state_summary import StateSummary
from unbroken.run.flat_state import digested, flat
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


def seen(captured: dict[str, Any]) -> StateSummary:
    """Return a captured state as a resume looks at it."""
    values, tensors = flat(captured)
    return StateSummary(values=values, leaves=digested(tensors))


def changed_leaves(saved: StateSummary, captured: dict[str, Any]) -> tuple[str, ...]:
    """Return the leaves that the checks of a resume find changed, with how they differ."""
    found = compare_state(saved, seen(captured), list(captured))
    return tuple(map(str, found.differences))


def restored_otherwise(old: TrainingState, new: TrainingState) -> tuple[str, ...]:
    """Restore `new` to what `old` is; return the leaves in which it isn't then."""
    before = seen(old.capture())
    saved, _ = written_and_read(old.capture())
    new.restore(saved, Position())
    return changed_leaves(before, new.capture())


def hand_over(old: TrainingState, new: TrainingState) -> None:
    """Restore `new` to what `old` is, and see that all of it has arrived."""
    assert () == restored_otherwise(old, new)
