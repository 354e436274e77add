"""A stopped PyTorch training run continues as if it had never stopped, and proves it.

Public are the names of `__all__` here, in `unbroken.checks` and in `unbroken.testing`, with what
docs/api.md says of each, and `protect` of each adapter in `unbroken.integrations`, with what
docs/frameworks.md says of it. All other modules may change without notice.
"""

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
    RankFailed,
    ResumeRefused,
    RunMisused,
    SaveFailed,
    SettingsInvalid,
    StateMismatch,
    Stopped,
    TrainingWentBad,
    UnbrokenError,
)
from unbroken.first_calls import make_first_calls_with_torch

if TYPE_CHECKING:
    from unbroken.checkpoint.disk import AppendFile, atomic_write
    from unbroken.checkpoint.read import Checkpoint
    from unbroken.checkpoint.tensor_file import read_tensors, write_tensors
    from unbroken.cli.program import Parser, Program, nearest, run_program
    from unbroken.cores import usable_cores
    from unbroken.counts import counted
    from unbroken.loop.isolation import isolated
    from unbroken.loop.loader_workers import ignore_stop_signals
    from unbroken.loop.schedule import Schedule, warmup_cosine
    from unbroken.loop.stop import StopRequest
    from unbroken.order.mix import Mix
    from unbroken.order.step_batches import MicroBatch, StepBatches
    from unbroken.protection.protect import protect
    from unbroken.report.countdown import count_down, why_unattended
    from unbroken.report.layout import terminal_width
    from unbroken.report.progress import new_bars, progress_bars
    from unbroken.report.saved_report import save_report
    from unbroken.report.symbols import legible
    from unbroken.report.terminal import render as render_report
    from unbroken.run.directory import RunDirectory, find_checkpoint
    from unbroken.run.probe import Probe
    from unbroken.run.resume import ResumeReport
    from unbroken.run.run import Run
    from unbroken.run.source import ResumeSource, find_source
    from unbroken.run.step import Step, StepResult
    from unbroken.state.facts import FactDifference
    from unbroken.state.mix import mix64, mix64_each, permutation
    from unbroken.state.position import Position
    from unbroken.state.values import Values
    from unbroken.trackers.named import tracker
    from unbroken.trackers.tracker import Tracker

__all__ = [
    "AppendFile",
    "Checkpoint",
    "CheckpointCorrupt",
    "DataInvalid",
    "DirectoryInUse",
    "Diverged",
    "FactDifference",
    "MicroBatch",
    "Mix",
    "NoUsableCheckpoint",
    "NotEncodable",
    "Parser",
    "Position",
    "Probe",
    "Program",
    "RankFailed",
    "ResumeRefused",
    "ResumeReport",
    "ResumeSource",
    "Run",
    "RunDirectory",
    "RunMisused",
    "SaveFailed",
    "Schedule",
    "SettingsInvalid",
    "StateMismatch",
    "Step",
    "StepBatches",
    "StepResult",
    "StopRequest",
    "Stopped",
    "Tracker",
    "TrainingWentBad",
    "UnbrokenError",
    "Values",
    "atomic_write",
    "count_down",
    "counted",
    "find_checkpoint",
    "find_source",
    "ignore_stop_signals",
    "isolated",
    "legible",
    "mix64",
    "mix64_each",
    "nearest",
    "new_bars",
    "permutation",
    "progress_bars",
    "protect",
    "read_tensors",
    "render_report",
    "run_program",
    "save_report",
    "terminal_width",
    "tracker",
    "usable_cores",
    "warmup_cosine",
    "why_unattended",
    "write_tensors",
]

# Imported when first used: the command line answers `--help` without waiting for torch.
_LAZY: Final = {
    "AppendFile": "unbroken.checkpoint.disk",
    "atomic_write": "unbroken.checkpoint.disk",
    "Checkpoint": "unbroken.checkpoint.read",
    "read_tensors": "unbroken.checkpoint.tensor_file",
    "write_tensors": "unbroken.checkpoint.tensor_file",
    "Parser": "unbroken.cli.program",
    "Program": "unbroken.cli.program",
    "nearest": "unbroken.cli.program",
    "run_program": "unbroken.cli.program",
    "usable_cores": "unbroken.cores",
    "counted": "unbroken.counts",
    "isolated": "unbroken.loop.isolation",
    "ignore_stop_signals": "unbroken.loop.loader_workers",
    "Schedule": "unbroken.loop.schedule",
    "warmup_cosine": "unbroken.loop.schedule",
    "StopRequest": "unbroken.loop.stop",
    "MicroBatch": "unbroken.order.step_batches",
    "Mix": "unbroken.order.mix",
    "StepBatches": "unbroken.order.step_batches",
    "protect": "unbroken.protection.protect",
    "count_down": "unbroken.report.countdown",
    "why_unattended": "unbroken.report.countdown",
    "terminal_width": "unbroken.report.layout",
    "new_bars": "unbroken.report.progress",
    "progress_bars": "unbroken.report.progress",
    "save_report": "unbroken.report.saved_report",
    "legible": "unbroken.report.symbols",
    "RunDirectory": "unbroken.run.directory",
    "find_checkpoint": "unbroken.run.directory",
    "Probe": "unbroken.run.probe",
    "ResumeReport": "unbroken.run.resume",
    "Run": "unbroken.run.run",
    "ResumeSource": "unbroken.run.source",
    "find_source": "unbroken.run.source",
    "Step": "unbroken.run.step",
    "StepResult": "unbroken.run.step",
    "FactDifference": "unbroken.state.facts",
    "mix64": "unbroken.state.mix",
    "mix64_each": "unbroken.state.mix",
    "permutation": "unbroken.state.mix",
    "Position": "unbroken.state.position",
    "Values": "unbroken.state.values",
    "tracker": "unbroken.trackers.named",
    "Tracker": "unbroken.trackers.tracker",
}
_RENAMED: Final = {"render_report": ("unbroken.report.terminal", "render")}
"""What is called otherwise where it lives, as it needs less of a name there."""

make_first_calls_with_torch()


def __getattr__(name: str) -> Any:
    """Import a public name from the module it lives in."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _RENAMED.get(name) or (_LAZY[name], name)
    return getattr(import_module(module), attribute)
