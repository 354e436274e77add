"""The paths in the directory of a run, and the names of checkpoints."""

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
"""Longest name of a file in bytes."""

Place = tuple[int, int]
"""Completed steps, and samples of the next one."""

RANKS = "ranks"
"""Directory in a run's that contains what each process but the leader records of itself."""

FILE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.(safetensors|json)")
"""The form of the names of a checkpoint's files; no other file is ever opened."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one run's directory."""

    root: Path

    @property
    def run_file(self) -> Path:
        """Written when the run begins; its presence marks the directory of a run."""
        return self.root / "run.json"

    @property
    def start_file(self) -> Path:
        """The run's initial facts, for a start that finds no checkpoint."""
        return self.root / "start.json"

    @property
    def checkpoints(self) -> Path:
        """Contains one directory per checkpoint."""
        return self.root / "checkpoints"

    @property
    def latest(self) -> Path:
        """Names the newest verified checkpoint; only a hint."""
        return self.root / "latest"

    @property
    def journal(self) -> Path:
        """A line a step."""
        return self.root / "journal.jsonl"

    @property
    def history(self) -> Path:
        """One line per start, stop, resume and refusal."""
        return self.root / "history.jsonl"

    @property
    def logs(self) -> Path:
        """TensorBoard files and the console's log."""
        return self.root / "logs"

    @property
    def order(self) -> Path:
        """Contains the order of the samples of an epoch, where it can't be derived again."""
        return self.root / "order"

    @property
    def earlier(self) -> Path:
        """Earlier runs in this directory, moved here as a whole."""
        return self.root / "earlier"

    @property
    def quarantine(self) -> Path:
        """Checkpoints that were found damaged twice, each with the reason."""
        return self.root / "quarantine"

    @property
    def pins(self) -> Path:
        """Names of the pinned checkpoints."""
        return self.root / "pins.json"

    @property
    def trackers_file(self) -> Path:
        """The last step that each tracker has taken in; it may be a second behind."""
        return self.root / "trackers.json"

    @property
    def probe_file(self) -> Path:
        """The small batch whose losses every save and resume measures."""
        return self.root / "probe.safetensors"

    @property
    def base(self) -> Path:
        """Files that a program keeps of the weights it began with."""
        return self.root / "base"

    @property
    def ranks(self) -> Path:
        """Contains the records of the other processes, where several train the run."""
        return self.root / RANKS

    @property
    def replaced(self) -> tuple[Path, ...]:
        """The files that only the writer of the run replaces, atomically."""
        return (
            self.latest, self.run_file, self.start_file, self.probe_file, self.trackers_file)  # fmt: skip

    @property
    def moved(self) -> tuple[Path, ...]:
        """Files that move with `run.json` when the run is moved away."""
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
            self.order,
            self.trackers_file,
            self.ranks,
        )

    @property
    def lock_file(self) -> Path:
        """Locked by the process that writes to the run; it is empty."""
        return self.root / ".writer.lock"

    @property
    def owner_file(self) -> Path:
        """Names the process that writes to the run."""
        return self.root / ".writer.json"

    def beat_file(self, token: str) -> Path:
        """Grows while the writer with this token is alive."""
        return self.root / f".writer.{token}.beat"

    @property
    def superseded(self) -> Path:
        """Checkpoints that were given up by resuming from an older one."""
        return self.root / "superseded"


@dataclass(frozen=True, slots=True)
class RankLayout(Layout):
    """The paths of a process that is not the leader: records of its own, the checkpoints of the run."""

    leader: Path
    """The run's directory."""

    @property
    def checkpoints(self) -> Path:
        """Contains one directory per checkpoint, each with what every process saved."""
        return self.leader / "checkpoints"


def layout_of_rank(layout: Layout, rank: int) -> Layout:
    """Return the paths of one process of a run; the leader's are the run's."""
    if rank == 0:
        return layout
    return RankLayout(root=layout.ranks / rank_name(rank), leader=layout.root)


def rank_name(rank: int) -> str:
    """Return the name of the directories of a process, in a run and in its checkpoints."""
    return f"rank-{rank:05d}"


def checkpoint_name(position: Position) -> str:
    """Return the directory name of a checkpoint taken at `position`."""
    inside = f"+{position.samples}" if position.samples else ""
    return f"step-{position.step:08d}{inside}"


def place_in_name(name: str) -> Place | None:
    """Return the position in the name of a checkpoint; None if it isn't such a name."""
    found = CHECKPOINT_NAME.fullmatch(name) if len(name) <= LONGEST_NAME else None
    return None if found is None else (int(found[1]), int(found[2] or 0))


def is_checkpoint_name(name: str) -> bool:
    """Return whether this is the name of a checkpoint."""
    return place_in_name(name) is not None
