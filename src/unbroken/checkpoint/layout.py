"""Where things lie in the directory of a run, and how a checkpoint is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from unbroken.state.position import Position

MANIFEST = "manifest.json"
STATE = "state.json"
FACTS = "facts.json"
EVIDENCE = "evidence.json"

CHECKPOINT_NAME = re.compile(r"step-(\d{8,})(\+\d+)?")
"""`step-00003500`, or `step-00003500+24` when 24 samples of the next step were done."""

LONGEST_NAME = 255
"""Bytes of the name of a file; a longer name was never one."""

Place = tuple[int, int]
"""Completed steps, and samples of the next one."""

FILE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.(safetensors|json)")
"""The only names that files of a checkpoint can have; nothing else is ever opened."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one run's directory."""

    root: Path

    @property
    def run_file(self) -> Path:
        """Written at the run's birth; its presence makes the directory a run's."""
        return self.root / "run.json"

    @property
    def start_file(self) -> Path:
        """What the run was begun with, for a start that finds no checkpoint."""
        return self.root / "start.json"

    @property
    def checkpoints(self) -> Path:
        """Holds one directory a checkpoint."""
        return self.root / "checkpoints"

    @property
    def latest(self) -> Path:
        """Names the newest verified checkpoint; a hint, never the truth."""
        return self.root / "latest"

    @property
    def journal(self) -> Path:
        """A line a step."""
        return self.root / "journal.jsonl"

    @property
    def history(self) -> Path:
        """A line a start, stop, resume, refusal."""
        return self.root / "history.jsonl"

    @property
    def logs(self) -> Path:
        """TensorBoard files and the console's log."""
        return self.root / "logs"

    @property
    def earlier(self) -> Path:
        """Runs that stood here before, moved away whole."""
        return self.root / "earlier"

    @property
    def quarantine(self) -> Path:
        """Checkpoints that were found damaged twice, each with the reason."""
        return self.root / "quarantine"

    @property
    def pins(self) -> Path:
        """Names the checkpoints that are kept by hand."""
        return self.root / "pins.json"

    @property
    def probe_file(self) -> Path:
        """The small batch whose losses every save and resume measures."""
        return self.root / "probe.safetensors"

    @property
    def base(self) -> Path:
        """What the program keeps of the weights it began with."""
        return self.root / "base"

    @property
    def replaced(self) -> tuple[Path, ...]:
        """The files that only the writer of the run replaces, each as a whole."""
        return (self.latest, self.run_file, self.start_file, self.probe_file)

    @property
    def moved(self) -> tuple[Path, ...]:
        """What goes with `run.json` when the run is moved away."""
        return (
            self.checkpoints,
            self.latest,
            self.journal,
            self.history,
            self.logs,
            self.superseded,
            self.quarantine,
            self.base,
            self.pins,
            self.probe_file,
            self.start_file,
        )

    @property
    def lock_file(self) -> Path:
        """Locked by the process that writes to the run; it is empty."""
        return self.root / ".writer.lock"

    @property
    def owner_file(self) -> Path:
        """Says who writes to the run."""
        return self.root / ".writer.json"

    def beat_file(self, token: str) -> Path:
        """Grows while the writer with this token lives."""
        return self.root / f".writer.{token}.beat"

    @property
    def superseded(self) -> Path:
        """Checkpoints of a future that was given up by resuming from an older one."""
        return self.root / "superseded"


def checkpoint_name(position: Position) -> str:
    """Return the directory name of a checkpoint taken at `position`."""
    inside = f"+{position.samples}" if position.samples else ""
    return f"step-{position.step:08d}{inside}"


def place_in_name(name: str) -> Place | None:
    """Return where a checkpoint stands, as its name says; None where no checkpoint is called so."""
    found = CHECKPOINT_NAME.fullmatch(name) if len(name) <= LONGEST_NAME else None
    return None if found is None else (int(found[1]), int(found[2] or 0))


def is_checkpoint_name(name: str) -> bool:
    """Say whether a checkpoint can be called so."""
    return place_in_name(name) is not None
