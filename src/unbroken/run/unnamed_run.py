"""A directory with checkpoints or the record of a run, but without the `run.json` that says whose.

Somebody copied `checkpoints/` alone, or lost the file. A run that began there would set whole
checkpoints aside and train again what they hold.
"""

from __future__ import annotations

from pathlib import Path

from unbroken.checkpoint.layout import Layout, Place, is_checkpoint_name, place_in_name
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.run_directory import place_of_interrupted_move, run_id_of
from unbroken.counts import counted
from unbroken.errors import CheckpointCorrupt, NoUsableCheckpoint


def require_no_unnamed_run(layout: Layout) -> None:
    """Let no run begin, or go on, over what another one left.

    Args:
        layout: A directory without `run.json`.

    Raises:
        NoUsableCheckpoint: It holds checkpoints, or the record of a run.
    """
    moved_to = place_of_interrupted_move(layout)
    moved = None if moved_to is None else run_id_of(Layout(moved_to))
    found = [each for each in _checkpoints(layout) if moved is None or _run_id(each) != moved]
    name = layout.run_file.name
    if found:
        readable = [each for each in found if _run_id(each) is not None]
        raise NoUsableCheckpoint(
            f"{layout.checkpoints} holds {counted(len(found), 'checkpoint')}, up to {found[-1].name}, "
            f"but {layout.root} has no {name}, which says whose they are.",
            "A run that began here would move them away and train again what they hold.",
            _way_on(readable[-1])
            if readable
            else f"Bring {name} back, or choose another directory.",
            topic="unnamed run" if readable else "",
            given={"newest": str(readable[-1])} if readable else None,
        )
    if moved_to is None and any(
        each.is_file() and each.stat().st_size for each in (layout.journal, layout.history)
    ):
        raise NoUsableCheckpoint(
            f"{layout.root} holds the record of a run ({layout.journal.name}, {layout.history.name}), "
            f"but no {name} and no checkpoint.",
            "A run that began here would be taken for that one, and compared with its steps.",
            "Bring the checkpoints back and resume one by its path, or choose another directory.",
        )


def _way_on(newest: Path) -> str:
    return (
        f"To go on from the newest, name it: run.resume({str(newest)!r}). For a new run choose "
        "another directory."
    )


def _checkpoints(layout: Layout) -> list[Path]:
    """Return what is called a checkpoint, oldest first."""
    if not layout.checkpoints.is_dir():
        return []
    found = layout.checkpoints.iterdir()
    return sorted((each for each in found if is_checkpoint_name(each.name)), key=_place)


def _place(path: Path) -> Place:
    return place_in_name(path.name) or (-1, 0)


def _run_id(path: Path) -> str | None:
    try:
        return Checkpoint.at(path).manifest.run_id
    except CheckpointCorrupt:
        return None
