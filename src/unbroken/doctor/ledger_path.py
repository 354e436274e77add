"""The steps that made the weights: of each step the line that the present state descends from.

The journal keeps what every start wrote. A start that went on after step N replaces what the starts
before it wrote of the steps beyond N; what is replaced is compared with its repetition, and then counts no
more. A start that was stopped because a repeated step came out otherwise replaces nothing, unless a
later start went on from one of its checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from unbroken.counts import counted
from unbroken.doctor.ledger_starts import LedgerStart, Starts
from unbroken.journal.journal import MOST
from unbroken.journal.line import EPOCH_ENDED, GIVEN_UP, SAMPLE_SUM
from unbroken.order.sample_sum import sum_of_text

_DECODED: Final = json.JSONDecoder().decode

ReportProgress = Callable[[int, int], None]
"""`report(done, total)` is called with bytes read."""


class EpochList(NamedTuple):
    """What the order's list of an epoch holds."""

    samples: int
    distinct: int
    of: int | None
    sum: int


class TrainedStep(NamedTuple):
    """A step, as its line tells it."""

    step: int
    start: int
    epoch: int
    samples: int
    digest: str
    sum: int | None
    ended: EpochList | None
    is_given_up: bool

    def is_as(self, other: TrainedStep) -> bool:
        """Say whether it used the same samples in the same epoch."""
        return (self.epoch, self.samples, self.digest) == (other.epoch, other.samples, other.digest)


class Fault(NamedTuple):
    """Where samples were not used as they should have been."""

    kind: str
    """`gap`, `repeat` or `other samples`."""
    epoch: int
    step: int
    sentence: str


@dataclass(slots=True)
class TrainedPath:
    """The steps of a run, and what was found while they were put together."""

    base: int = 0
    """Steps that were completed before the first of them."""
    base_batch: int | None = 0
    """Step batches of its epoch that were done there; None where that isn't known."""
    steps: list[TrainedStep] = field(default_factory=list)
    repeated: int = 0
    """Steps that a resume repeated, with the same samples."""
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lines: int = 0
    damaged: list[int] = field(default_factory=list)
    """Numbers of damaged lines, from 1."""


def read_path(journal: Path, starts: Starts, report: ReportProgress) -> TrainedPath:
    """Return the steps that made the present state of a run.

    Args:
        journal: Its lines; nothing is changed.
        starts: What the history tells.
        report: Called with bytes read.
    """
    builder = _Builder(starts)
    for number, line in _lines(journal, starts.journal_from, report):
        if line is None:
            builder.path.damaged.append(number)
        else:
            builder.take(line)
    builder.end()
    return builder.path


class _Builder:
    """Puts the path together, line by line."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts
        self.path = TrainedPath()
        self._replaced: dict[int, TrainedStep] = {}
        self._start: LedgerStart | None = None
        self._unknown: set[int] = set()
        self._before_diverged: list[TrainedStep] | None = None
        self._trained_again: list[Fault] = []

    def take(self, line: TrainedStep) -> None:
        """Add a step."""
        path = self.path
        path.lines += 1
        if self._start is None or line.start > self._start.number:
            self._begin(line)
        assert self._start is not None
        last = path.steps[-1].step if path.steps else path.base
        if line.step <= last:
            if line.start != self._start.number or line.step - 1 not in self._start.put_back:
                self._trained_again.append(_stands_again(line, path.steps))
                return
            self._go_back(line.step - 1)
        path.steps.append(line)
        was = self._replaced.pop(line.step, None)
        if was is not None:
            self._compare(was, line)

    def _begin(self, line: TrainedStep) -> None:
        """Let a start begin: what others wrote beyond its beginning is replaced."""
        path, is_first = self.path, self._start is None
        known = self._starts.by_number.get(line.start)
        if known is None:
            begins = 0 if is_first else line.step - 1
            known = LedgerStart(line.start, step=begins, batch=None)
            self._unknown.add(line.start)
        if is_first:
            path.base, path.base_batch = known.step, known.batch if known.step else 0
        self._leave_diverged(known.step)
        self._start = known
        if known.has_diverged:
            self._before_diverged = list(path.steps)
        self._go_back(known.step)
        if known.new_values:
            self._replaced.clear()
            path.notes.append(
                f"start {known.number} went on after step {known.step:,} with what was accepted: "
                f"{', '.join(known.new_values)}; what it replaced is not compared"
            )

    def _leave_diverged(self, step: int) -> None:
        """Forget what a start that was stopped has written, unless the next goes on from it."""
        if self._before_diverged is not None:
            assert self._start is not None
            if step <= self._start.step:
                self.path.steps = self._before_diverged
            self._before_diverged = None

    def _go_back(self, step: int) -> None:
        steps = self.path.steps
        while steps and steps[-1].step > step:
            replaced = steps.pop()
            self._replaced[replaced.step] = replaced
        self._trained_again = [each for each in self._trained_again if each.step <= step]
        faults = self.path.faults
        self.path.faults = [each for each in faults if each.step <= step]

    def _compare(self, was: TrainedStep, now: TrainedStep) -> None:
        assert self._start is not None
        if was.is_as(now):
            self.path.repeated += 1
        elif self._start.has_diverged:
            self.path.notes.append(
                f"start {now.start} was stopped when it repeated step {now.step:,} with other samples "
                f"than start {was.start} had used; nothing went on from it"
            )
        elif not any(each.step > self._start.step for each in self.path.faults):
            self.path.faults.append(
                Fault(
                    "other samples", now.epoch, now.step,
                    f"start {now.start} repeated step {now.step:,} with other samples than start "
                    f"{was.start} had used",
                )
            )  # fmt: skip

    def end(self) -> None:
        """Conclude: a last start that was stopped has made nothing."""
        path = self.path
        if self._before_diverged is not None and self._before_diverged:
            path.steps = self._before_diverged
        path.faults += self._trained_again
        if self._unknown:
            path.notes.append(
                f"the history tells nothing of {_numbers('start', sorted(self._unknown))}: where it "
                "went on is taken from its first line"
            )
        if path.damaged:
            path.notes.append(
                f"{_numbers('line', path.damaged)} of the journal can't be read, and "
                f"{'is' if len(path.damaged) == 1 else 'are'} left out"
            )


def _stands_again(line: TrainedStep, steps: list[TrainedStep]) -> Fault:
    before = next((each for each in reversed(steps) if each.step == line.step), None)
    same = "the same" if before is not None and before.is_as(line) else "other"
    said = (
        f"step {line.step:,} stands in the journal again, of start {line.start} and with {same} samples, "
        "though nothing went back"
    )
    return Fault("repeat", line.epoch, line.step, said)


def _numbers(noun: str, numbers: list[int]) -> str:
    listed = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
    return f"{noun} {listed}" if len(numbers) == 1 else f"{counted(len(numbers), noun)} ({listed})"


def _lines(
    path: Path, begin: int, report: ReportProgress
) -> Iterator[tuple[int, TrainedStep | None]]:
    """Yield number and step of each line; None for one that is damaged. A torn last line is none."""
    total, done, reported = path.stat().st_size, begin, begin
    with path.open("rb") as file:
        file.seek(begin)
        for number, raw in enumerate(file, 1):
            done += len(raw)
            if done - reported >= 1 << 22:
                reported = done
                report(done, total)
            if raw.endswith(b"\n"):
                yield number, _step_of(raw)
    report(total, total)


def _step_of(raw: bytes) -> TrainedStep | None:
    try:
        line = _DECODED(raw.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict):
        return None
    counters = [line.get(name, 0) for name in ("step", "start", "epoch", "samples")]
    digest = line.get("sample_digest")
    is_sound = all(type(each) is int and 0 <= each < MOST for each in counters)
    if not is_sound or not isinstance(digest, str) or "step" not in line or "epoch" not in line:
        return None
    step, start, epoch, samples = counters
    return TrainedStep(
        step,
        start,
        epoch,
        samples,
        digest=digest,
        sum=sum_of_text(line.get(SAMPLE_SUM)),
        ended=_list_of(line.get(EPOCH_ENDED)),
        is_given_up=GIVEN_UP in line,
    )


def _list_of(told: Mapping[str, Any] | Any) -> EpochList | None:
    if not isinstance(told, dict):
        return None
    samples, distinct, of = told.get("samples"), told.get("distinct"), told.get("of")
    total = sum_of_text(told.get("sum"))
    if type(samples) is not int or type(distinct) is not int or total is None:
        return None
    return EpochList(samples, distinct, of if type(of) is int else None, total)
