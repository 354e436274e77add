"""Resume: find what to continue from, read it, compare it with the live run, restore it.

The only place that knows both the disk and the live objects.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import MANIFEST, Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.checkpoint.store import Store
from unbroken.errors import NoUsableCheckpoint, ResumeRefused, SettingsInvalid
from unbroken.state.digest import DIGEST_SCHEME
from unbroken.state.facts import FactDifference, differences
from unbroken.state.mix import ORDER_SCHEME
from unbroken.state.position import Position
from unbroken.state.randomness import SEED_SCHEME

FORMAT = 1
SCHEMES = {
    "order_scheme": ORDER_SCHEME,
    "seed_scheme": SEED_SCHEME,
    "digest_scheme": DIGEST_SCHEME,
}


Outcome = Literal["began", "resumed", "began again"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a start continues from."""

    layout: Layout
    run_id: str | None
    """The run to continue; None when a new one begins."""
    checkpoint: Checkpoint | None
    """None when a run begins, or begins again because it never committed a checkpoint."""
    replaces_run: str | None = None
    """A run that stands in the directory and is moved to `earlier/` when the new one begins."""
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """What a start from here is called."""
        if self.checkpoint is not None:
            return "resumed"
        return "began again" if self.run_id else "began"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeReport:
    """What `Run.resume` did."""

    outcome: Outcome
    position: Position
    checkpoint: Path | None
    steps_to_repeat: int
    """Steps that the journal knows beyond the checkpoint."""
    changed: tuple[FactDifference, ...]
    """Facts that changed and may."""
    notes: tuple[str, ...]


def look(directory: Path, how: str) -> Target:
    """Find what to continue from; nothing is changed.

    Args:
        directory: The run's directory.
        how: `auto` (the newest whole checkpoint, or a new run), `latest` (the same, but it must
            exist), a path (a checkpoint, or a run's directory), or the empty text (a new run).

    Raises:
        NoUsableCheckpoint: What was asked for isn't there, or no checkpoint is whole.
    """
    layout = Layout(directory)
    if how == "":
        return Target(layout=layout, run_id=None, checkpoint=None, replaces_run=run_id_of(layout))
    if how in ("auto", "latest"):
        return _newest(layout, must_exist=how == "latest")
    return _explicit(Path(how))


def _newest(layout: Layout, *, must_exist: bool, notes: tuple[str, ...] = ()) -> Target:
    run_id = run_id_of(layout)
    if run_id is None:
        if must_exist:
            raise NoUsableCheckpoint(
                f"{layout.root} holds no run.",
                "There is nothing to continue.",
                "Check --output-dir, or use --resume auto, which begins a run where none is.",
            )
        return Target(layout=layout, run_id=None, checkpoint=None)
    found = Store(layout, run_id).newest_whole()
    if found.checkpoint is None:
        if must_exist:
            raise NoUsableCheckpoint(
                f"The run in {layout.root} never committed a checkpoint.",
                "There is no state to continue from.",
                "Use --resume auto, which begins the run again at step 0.",
            )
        notes += ("the run never committed a checkpoint: it begins again at step 0",)
    notes += tuple(f"passed over: {each}" for each in found.passed_over)
    return Target(layout=layout, run_id=run_id, checkpoint=found.checkpoint, notes=notes)


def _explicit(path: Path) -> Target:
    if path.name in ("latest", "latest.pth") and run_id_of(Layout(path.parent)) is not None:
        note = f"{path} is understood as the latest checkpoint of the run in {path.parent}"
        return _newest(Layout(path.parent), must_exist=True, notes=(note,))
    if run_id_of(Layout(path)) is not None:
        return _newest(Layout(path), must_exist=True)
    if (path / MANIFEST).is_file():
        checkpoint = Checkpoint.at(path)
        checkpoint.verify()
        layout = Layout(path.resolve().parent.parent)
        run_id = run_id_of(layout)
        if run_id != checkpoint.manifest.run_id:
            raise NoUsableCheckpoint(
                f"{path} belongs to run {checkpoint.manifest.run_id}, "
                f"but it lies in the directory of {run_id or 'no run'}.",
                "A run is continued in its own directory, beside its journal.",
                "Put the checkpoint back under its run's checkpoints/, or name the run's directory.",
            )
        return Target(layout=layout, run_id=run_id, checkpoint=checkpoint)
    raise NoUsableCheckpoint(
        f"{path} is neither a checkpoint nor the directory of a run.",
        "An explicit path is never replaced by something else.",
        "Name a directory under checkpoints/, or use --resume auto.",
    )


def run_id_of(layout: Layout) -> str | None:
    """Return the id of the run in a directory, or None where none is.

    Raises:
        SettingsInvalid: `run.json` is there but is not one of ours, or of an unknown scheme.
    """
    try:
        content = json.loads(layout.run_file.read_bytes())
        run_id = content["run_id"]
        schemes = {name: content[name] for name in SCHEMES}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsInvalid(
            f"{layout.run_file} is not the file of a run ({type(error).__name__}).",
            "It may belong to another tool, or it is damaged; it is left alone.",
            "Choose another --output-dir.",
        ) from error
    if schemes != SCHEMES or content.get("format") != FORMAT or not isinstance(run_id, str):
        raise SettingsInvalid(
            f"{layout.run_file} was written with {schemes}, format {content.get('format')}.",
            f"This version knows {SCHEMES}, format {FORMAT}; another order would be another run.",
            "Continue it with the version that began it.",
        )
    return run_id


def enter(target: Target, seed: int) -> tuple[str, list[str]]:
    """Make the directory the run's: move what stood there, write `run.json` where a run begins.

    Returns:
        The run's id, and what a person should know.
    """
    if target.run_id is not None:
        return target.run_id, []
    notes = []
    if target.replaces_run is not None:
        place = move_to_earlier(target.layout, target.replaces_run)
        notes.append(
            f"the run that stood here was moved to {place}; to go back to it: --resume {place}"
        )
    else:
        finish_moving(target.layout)
    return begin_run(target.layout, seed), notes


def begin_run(layout: Layout, seed: int) -> str:
    """Write `run.json` and return the new run's id."""
    run_id = uuid.uuid4().hex[:12]
    disk.make_directory(layout.root)
    content = {"format": FORMAT, "run_id": run_id, "created": time.time(), "seed": seed, **SCHEMES}
    disk.replace_file(layout.run_file, (json.dumps(content, indent=1) + "\n").encode())
    return run_id


def move_to_earlier(layout: Layout, run_id: str) -> Path:
    """Move the run that stands in a directory to `earlier/<date>-<run id>/`; return where to.

    The rename of `run.json` decides: before it the old run stands, after it the directory holds
    none. The rest of the run follows, and `finish_moving` completes it after an interruption.
    """
    place = layout.earlier / f"{time.strftime('%Y%m%d-%H%M%S')}-{run_id}"
    disk.make_directory(place)
    disk.rename(layout.run_file, place / layout.run_file.name)
    finish_moving(layout)
    return place


def finish_moving(layout: Layout) -> None:
    """Bring what is left of a moved run to its `run.json`, where a move was interrupted."""
    if layout.run_file.exists() or not layout.earlier.is_dir():
        return
    places = sorted(each for each in layout.earlier.iterdir() if (each / "run.json").is_file())
    if not places:
        return
    ours = ("checkpoints", "latest", "journal.jsonl", "history.jsonl", "logs", "superseded",
            "quarantine", "base")  # fmt: skip
    for name in ours:
        source, target = layout.root / name, places[-1] / name
        if source.exists() and not target.exists():
            disk.rename(source, target)


def compare_facts(
    saved: Mapping[str, Any],
    live: Mapping[str, Any],
    may_change: Collection[str],
    accepted: Collection[str] = (),
) -> list[FactDifference]:
    """Return the facts that changed and may; refuse those that may not.

    Raises:
        ResumeRefused: A fact that must match differs and was not accepted by name.
    """
    found = differences(saved, live)
    free = {*may_change, *accepted}
    fatal = [each for each in found if not free & {each.name, each.name.split(".")[0]}]
    if fatal:
        listed = "\n".join(f"  {each}" for each in fatal)
        raise ResumeRefused(
            f"This is not the run that was saved:\n{listed}",
            "It would train on as another run from the next step on; nothing was changed.",
            "Give the settings and data of the run, or begin a new run from its weights "
            "(--init-from).",
        )
    return found
