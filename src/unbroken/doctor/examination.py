"""Reads and diagnoses everything about a run's past at a path."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from unbroken.checkpoint.layout import Layout, is_checkpoint_name
from unbroken.checkpoint.run_directory import run_id_of
from unbroken.doctor.checkpoint_diagnosis import checkpoint_states
from unbroken.doctor.curve_diagnosis import diagnose_curves
from unbroken.doctor.diagnosis import Diagnosis
from unbroken.doctor.event_curves import event_files
from unbroken.doctor.journal_diagnosis import diagnose_journal
from unbroken.errors import UnbrokenError

LEGACY = re.compile(r"latest\.pth|model_step(\d+)\.pth")
"""Checkpoints of the earlier trainer; they are never opened here."""


def examine_past(
    path: Path, report: Callable[[int, int], None] = lambda _done, _total: None
) -> Diagnosis | None:
    """Return the diagnosis of a run's past; None if there is nothing to read.

    Args:
        path: A run's directory, a checkpoint or a file in it, or TensorBoard files.
        report: Called with bytes read and bytes in total.

    Raises:
        SettingsInvalid: TensorBoard is needed and not installed.
    """
    layout = Layout(_root(path))
    checkpoints = tuple(checkpoint_states(layout))
    run_id, notes = _run_id(layout)
    found = Diagnosis(path=str(layout.root), run_id=run_id)
    if layout.journal.is_file():
        found = diagnose_journal(layout, run_id, report)
    legacy = _legacy(layout.root)
    if not found.starts and event_files(layout.root):
        found = diagnose_curves(layout.root, report, earlier_trainer=bool(legacy))
    if not found.starts and not checkpoints:
        return None
    notes += [f"earlier runs are in {layout.earlier}"] if layout.earlier.is_dir() else []
    if legacy:
        notes.append(f"checkpoints of the earlier trainer, not opened: {', '.join(legacy)}")
    return replace(found, checkpoints=checkpoints, notes=(*found.notes, *notes))


def _root(path: Path) -> Path:
    """Return the run's directory that contains a path."""
    path = path.absolute()
    if is_checkpoint_name(path.name):
        return path.parent.parent
    beside = Layout(path.parent)
    if path.is_file() and path in (beside.journal, beside.history, beside.run_file):
        return path.parent
    return path


def _run_id(layout: Layout) -> tuple[str, list[str]]:
    try:
        return run_id_of(layout) or "", []
    except (UnbrokenError, OSError) as error:
        return "", [str(error).partition("\n")[0]]


def _legacy(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    return sorted(each.name for each in root.iterdir() if LEGACY.fullmatch(each.name))
