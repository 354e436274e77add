"""A small training of many parts, saved in every way there is, with each call to the disk recorded.

It runs in its own directory, which it also makes; what a resume may come back with is known at
every call.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import unbroken
from support.sameness import same
from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout, checkpoint_name
from unbroken.checkpoint.read import Checkpoint
from unbroken.errors import UnbrokenError
from unbroken.journal.journal import last_line_of_each_step
from unbroken.run import resume as resuming
from unbroken.run.step import Step
from unbroken.testing.crash_points import CrashState, Replica, crash_states
from unbroken.testing.disk_calls import Call, recorded

RUN = "run"
NEVER_DELETED = "newer"
"""The state that is given up by resuming from an older one: it is set aside."""

BLOCK = 4096
"""Bytes of one write while recording, so that files are written by several."""


class Training:
    """A training with model, moving average, optimiser, schedule and scaler."""

    def __init__(self, directory: Path, how: str = "auto", *, keep: int = 2) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(12, 60), nn.Dropout(0.5), nn.Linear(60, 1))
        self.ema = torch.optim.swa_utils.AveragedModel(
            self.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        rates = unbroken.warmup_cosine(3, 40)
        schedule = unbroken.Schedule(self.optimizer, rates, {"warmup": 3, "total": 40})
        ids = [f"sample-{i}" for i in range(14)]
        self.run = unbroken.Run(
            directory,
            order=unbroken.StepBatches(ids, [1] * len(ids), 4, 7),
            model=self.model,
            ema=self.ema,
            optimizer=self.optimizer,
            scheduler=schedule,
            scaler=torch.amp.GradScaler("cpu", init_scale=2.0),
            save_every=0,
            keep=keep,
            overlap=True,
        )
        self.report = self.run.resume(how)

    def train(
        self, until: int, at_micro_batch: Callable[[unbroken.Position], None] | None = None
    ) -> None:
        """Train until so many steps are completed, without the save at the end."""
        while self.run.position.step < until:
            self._train(self.run.begin_step(), at_micro_batch)

    def train_by_steps(self, until: int) -> None:
        """Train until so many steps are completed, with the saves that are due."""
        for step in self.run.steps(until):
            self._train(step, None)

    def _train(
        self, step: Step, at_micro_batch: Callable[[unbroken.Position], None] | None
    ) -> None:
        for micro in step.micro_batches(2):
            if at_micro_batch is not None:
                at_micro_batch(micro.position)
            own = torch.Generator().manual_seed(micro.indices[0])
            loss = (self.model(torch.randn(2, 12, generator=own)) ** 2).sum()
            step.backward(loss)
        step.update(clip_norm=1.0)
        self.ema.update_parameters(self.model)


@dataclass(frozen=True, slots=True)
class Reference:
    """A state that a resume may come back with."""

    step: int
    parts: dict[str, Any]
    """As they were alive when they were saved."""


@dataclass(slots=True)
class RecordedRun:
    """The record, and what may be found after a crash at each of its calls."""

    calls: list[Call] = field(default_factory=list)
    states: dict[str, Reference] = field(default_factory=dict)
    """By name; `nothing` is the run that never saved."""
    hints: dict[str, str] = field(default_factory=lambda: {"nothing": ""})
    """What `latest` holds when a state is the newest."""

    def allowed(self, calls_made: int) -> set[str]:
        """Return the names of the states that may be found after a crash at a call."""
        marks = [each for each in self.calls[:calls_made] if each.kind == "mark"]
        return set(marks[-1].data.decode().split("|")) if marks else {"nothing"}


class _Script:
    """Saves in every way there is."""

    def __init__(
        self, directory: Path, recording: RecordedRun, mark: Callable[[str], None]
    ) -> None:
        self.directory = directory
        self.recording = recording
        self.mark = mark
        self.now = "nothing"

    def save(self, training: Training, name: str) -> None:
        run = training.run
        self.recording.states[name] = Reference(
            run.position.step, copy.deepcopy(run.state.capture())
        )
        self.mark(f"{self.now}|{name}")
        run.save()
        self.recording.hints[name] = f"{checkpoint_name(run.position)}\n"
        self.now = name
        self.mark(name)

    def play(self) -> None:
        training = Training(self.directory, keep=1)
        training.train(2)
        self.save(training, "first")
        training.train(4, lambda at: self._inside(training, at))
        training.train(5)
        self.save(training, "with deletion")
        training.run.close()
        training = Training(self.directory, keep=2)
        training.run.metrics = {"val_loss": 1.0}
        self.save(training, "again")
        training.train(6)
        self.save(training, "newer")
        training.run.close()
        self.mark("newer|again")
        training = Training(self.directory, str(self.directory / "checkpoints/step-00000005"))
        self.now = "again"
        self.mark(self.now)
        training.train(7)
        self.save(training, "after going back")
        training.run.close()

    def _inside(self, training: Training, at: unbroken.Position) -> None:
        if (at.step, at.samples) == (3, 2):
            self.save(training, "inside a step")


def record_run(directory: Path) -> RecordedRun:
    """Train below a directory and record every call."""
    recording, block = RecordedRun(), disk.BLOCK
    disk.BLOCK = BLOCK
    try:
        with recorded(directory) as record:
            _Script(directory / RUN, recording, record.mark).play()
    finally:
        disk.BLOCK = block
    recording.calls = record.calls
    return recording


class Reader:
    """Resumes from one crash state after another, as the command would, changing nothing.

    Args:
        recording: What was recorded.
        directory: An empty directory, best in memory.
    """

    def __init__(self, recording: RecordedRun, directory: Path) -> None:
        self.recording = recording
        self.directory = directory
        self.replica = Replica(directory)
        self.seen: dict[int, tuple[str, str, str]] = {}
        self.read = 0
        """States read; those that lie on the disk alike are read once."""
        self.enumerated = 0

    def complaint(self, state: CrashState) -> str:
        """Return what is wrong about a state, or nothing."""
        self.enumerated += 1
        key = hash(frozenset(state.tree.items()))
        if key not in self.seen:
            self.read += 1
            self.replica.show(state.tree)
            self.seen[key] = self._found_or_refused(), self._hint(), self._shown()
        found, hint, shown = self.seen[key]
        allowed = self.recording.allowed(state.calls_made)
        wrong = ""
        if found not in allowed:
            wrong = f"found {found!r}, not of {sorted(allowed)}"
        elif hint not in {self.recording.hints[each] for each in allowed}:
            wrong = f"latest holds {hint!r}, while the newest is of {sorted(allowed)}"
        elif self._was_saved(NEVER_DELETED, state.calls_made) and NEVER_DELETED not in shown:
            wrong = f"{NEVER_DELETED!r} is gone"
        losses = "; ".join(state.losses) or "no losses"
        return wrong and f"after {state.calls_made} calls, {losses}: {wrong}"

    def _hint(self) -> str:
        latest = Layout(self.directory / RUN).latest
        return latest.read_bytes().decode(errors="replace") if latest.exists() else ""

    def _was_saved(self, name: str, calls_made: int) -> bool:
        marks = [each for each in self.recording.calls[:calls_made] if each.kind == "mark"]
        return any(each.data.decode() == name for each in marks)

    def _shown(self) -> str:
        """Return the name of the checkpoint that no policy deletes, if it is there and whole."""
        layout, name = Layout(self.directory / RUN), self.recording.hints[NEVER_DELETED].strip()
        for place in [layout.checkpoints / name, *layout.superseded.glob(f"{name}.*")]:
            with contextlib.suppress(UnbrokenError):
                Checkpoint.at(place).verify()
                return NEVER_DELETED
        return ""

    def _found_or_refused(self) -> str:
        try:
            return self._found()
        except UnbrokenError as error:
            return f"{type(error).__name__}: {error.what}"

    def _found(self) -> str:
        layout = Layout(self.directory / RUN)
        target = resuming.find_source(layout.root, "auto")
        passed = [each for each in target.notes if each.startswith("skipped")]
        if passed:
            return f"a damaged checkpoint is visible: {passed}"
        if target.checkpoint is None:
            return "nothing"
        parts = target.checkpoint.parts()
        names = [
            name
            for name, each in self.recording.states.items()
            if each.step == target.checkpoint.position.step and same(each.parts, parts)
        ]
        if target.checkpoint.manifest.metrics and "again" in names:
            names = ["again"]
        lines = last_line_of_each_step(layout.journal)
        missing = [n for n in range(1, target.checkpoint.position.step + 1) if n not in lines]
        if missing:
            return f"{names} without the journal's lines {missing}"
        return names[0] if names else "a state that never was"


def complaints(reader: Reader, **how: Any) -> Iterator[str]:
    """Yield what is wrong about each crash state of a recorded run."""
    for state in crash_states(reader.recording.calls, **how):
        found = reader.complaint(state)
        if found:
            yield found
