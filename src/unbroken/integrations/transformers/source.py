"""What a protected training goes on from, and the options of `protect`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbroken.checkpoint.layout import Layout, checkpoint_name
from unbroken.errors import NoUsableCheckpoint
from unbroken.run.monitor import OnDiverged
from unbroken.run.resume import ResumeSource, find_source
from unbroken.state.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a trainer is protected; see `protect`."""

    accept: Collection[str] = ()
    begin_anew: bool = False
    parts: Mapping[str, Any] = field(default_factory=dict)
    save_every: int = 0
    save_minutes: float = 0.0
    keep: int = 3
    grace_seconds: float = 60.0
    stop_file: Path | None = None
    stop_signals: Collection[int | str] = ()
    on_diverged: OnDiverged = "stop"


def source_of(directory: Path, resume: object, options: Options) -> ResumeSource:
    """Find what a training goes on from.

    Args:
        directory: The run's, in the output directory.
        resume: What `train(resume_from_checkpoint=...)` was given: None, a truth value, or the path of
            a `checkpoint-N` or of a checkpoint of the run.
        options: Of `protect`.

    Raises:
        NoUsableCheckpoint: What was named isn't there, or nothing is whole.
    """
    if options.begin_anew:
        return find_source(directory, "")
    if resume is None or isinstance(resume, bool):
        source = find_source(directory, "auto")
        strange = sorted(directory.parent.glob("checkpoint-*"))
        if source.run_id is None and strange:
            raise _not_of_a_run(strange[-1], directory)
        return source
    named = Path(str(resume))
    number = named.name.removeprefix("checkpoint-")
    if named.name.startswith("checkpoint-") and number.isdigit():
        return find_source(directory, str(_of_folder(directory, named, int(number))))
    return find_source(directory, str(named))


def _of_folder(directory: Path, folder: Path, step: int) -> Path:
    """Return the run's checkpoint of the same step as a folder of the trainer."""
    place = Layout(directory).checkpoints / checkpoint_name(Position(step=step))
    if place.is_dir() and folder.resolve().parent == directory.resolve().parent:
        return place
    raise NoUsableCheckpoint(
        f"The run in {directory} has no checkpoint of the step of {folder}.",
        "That folder has the model, but not all from which a training goes on exactly.",
        "Call train(resume_from_checkpoint=True): it goes on from the newest state that is whole; "
        "or begin a new run from the model of that folder in another output_dir.",
    )


def _not_of_a_run(folder: Path, directory: Path) -> NoUsableCheckpoint:
    return NoUsableCheckpoint(
        f"{folder} stands there, and {directory} holds no run.",
        "A training without protect(), or one whose run was deleted, has written it. That folder has not "
        "all from which a training goes on exactly, and a new run would replace it.",
        "Give another output_dir, where a run may begin from the model of that folder; or begin anew "
        "here with protect(trainer, begin_anew=True).",
    )
