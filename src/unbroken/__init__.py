"""A stopped PyTorch training run continues as if it had never stopped, and proves it."""

from unbroken.errors import (
    CheckpointCorrupt,
    DataInvalid,
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
from unbroken.loop.isolation import isolated
from unbroken.loop.schedule import Schedule, warmup_cosine
from unbroken.order.step_batches import MicroBatch, StepBatches
from unbroken.run import ResumeReport, Run
from unbroken.state.position import Position
from unbroken.step import Step, StepResult

__all__ = [
    "CheckpointCorrupt",
    "DataInvalid",
    "MicroBatch",
    "NoUsableCheckpoint",
    "NotEncodable",
    "Position",
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
