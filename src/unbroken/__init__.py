"""A stopped PyTorch training run continues as if it had never stopped, and proves it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from unbroken.errors import (
    CheckpointCorrupt,
    DataInvalid,
    DirectoryInUse,
    Diverged,
    NotEncodable,
    NoUsableCheckpoint,
    ResumeRefused,
    SaveFailed,
    SettingsInvalid,
    StateMismatch,
    Stopped,
    TrainingWentBad,
    UnbrokenError,
)
from unbroken.first_calls import make_first_calls_with_torch

if TYPE_CHECKING:
    from unbroken.loop.isolation import isolated
    from unbroken.loop.schedule import Schedule, warmup_cosine
    from unbroken.order.step_batches import MicroBatch, StepBatches
    from unbroken.run.probe import Probe
    from unbroken.run.resume import ResumeReport
    from unbroken.run.run import Run
    from unbroken.run.step import Step, StepResult
    from unbroken.state.position import Position

__all__ = [
    "CheckpointCorrupt",
    "DataInvalid",
    "DirectoryInUse",
    "Diverged",
    "MicroBatch",
    "NoUsableCheckpoint",
    "NotEncodable",
    "Position",
    "Probe",
    "ResumeRefused",
    "ResumeReport",
    "Run",
    "SaveFailed",
    "Schedule",
    "SettingsInvalid",
    "StateMismatch",
    "Step",
    "StepBatches",
    "StepResult",
    "Stopped",
    "TrainingWentBad",
    "UnbrokenError",
    "isolated",
    "warmup_cosine",
]

# Imported when first used: the command line answers `--help` without waiting for torch.
_LAZY: Final = {
    "isolated": "unbroken.loop.isolation",
    "Schedule": "unbroken.loop.schedule",
    "warmup_cosine": "unbroken.loop.schedule",
    "MicroBatch": "unbroken.order.step_batches",
    "StepBatches": "unbroken.order.step_batches",
    "Probe": "unbroken.run.probe",
    "ResumeReport": "unbroken.run.resume",
    "Run": "unbroken.run.run",
    "Position": "unbroken.state.position",
    "Step": "unbroken.run.step",
    "StepResult": "unbroken.run.step",
}

make_first_calls_with_torch()


def __getattr__(name: str) -> Any:
    """Import a public name from the module it lives in."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
