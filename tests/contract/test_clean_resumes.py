"""A resume without a fault raises no alarm, whatever was configured and however it was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from support.random_configuration import Configuration, Start, draw
from support.random_training import Training, build, train
from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.errors import Stopped
from unbroken.journal.journal import last_line_of_each_step
from unbroken.run.flat_state import digested, flat
from unbroken.run.resume import ResumeReport
from unbroken.selftest.base import WithoutSyncs

CONFIGURATIONS = 300
IN_EVERY_RUN = 10
"""Of them, those of `make test`; the others are in `make soak`."""
PORTION = 10
"""Of them, those of one test."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing here must outlive a power cut; the number of threads is put back."""
    monkeypatch.setattr(disk, "system", WithoutSyncs())
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run_start(chosen: Configuration, start: Start, root: Path) -> tuple[Training, ResumeReport]:
    """Start the program once, to its end."""
    torch.set_num_threads(start.threads)
    training = build(chosen, start, root)
    try:
        report = training.run.resume()
        if report.checkpoint is not None:
            saved = Checkpoint.at(report.checkpoint).facts()
            training.saved_with = (saved["environment"]["threads"], saved["execution"]["batch"])
        training.run.monitor.listen(training.said.append)
        with suppress(Stopped):
            train(training, start)
    finally:
        training.run.close()
    return training, report


def alarms(
    chosen: Configuration, start: Start, training: Training, report: ResumeReport
) -> list[str]:
    """Return whatever was said that is not so."""
    monitor = training.run.monitor
    said = [f"{each.id}: {each.numbers}" for each in report.checks.critical]
    said += [
        f"{each.id}: {each.outcome}, {each.numbers}"
        for each in report.checks.warnings
        if not is_true(chosen, start, training, each.id)
    ]
    # How fast a step is depends on what else the machine does.
    said += [each.sentence for each in monitor.remarks if each.is_alarm and each.kind != "speed"]
    verdict = monitor.verdict
    if verdict is None:
        return said
    may_be = {"EXACT"}
    if not report.steps_to_repeat or training.run.position.step == report.position.step:
        may_be = {"UNPROVED"}
    elif verdict.changes:
        may_be = {"EQUIVALENT", *(["UNPROVED"] if chosen.recuts_more_than_sums else [])}
    return said if verdict.outcome in may_be else [*said, str(verdict)]


def is_true(chosen: Configuration, start: Start, training: Training, id_: str) -> bool:
    """Say whether a warning is one that the configuration brings about."""
    if id_ == "probe-loss-reproduced":
        return not chosen.has_probe
    if id_ == "execution-unchanged":
        return training.saved_with[0] != start.threads
    if id_ == "batch-geometry-unchanged":
        return chosen.norm == "batch" and training.saved_with[1] != start.micro
    return False


def resume_clean(chosen: Configuration, root: Path) -> list[str]:
    """Train with every stop, and without one; return what was said, or came out otherwise."""
    said: list[str] = []
    trainings: list[Training] = []
    for start in chosen.starts:
        training, report = run_start(chosen, start, root / "stopped")
        trainings.append(training)
        if report.checkpoint is not None:
            said += alarms(chosen, start, training, report)
    first, last = chosen.starts[0], chosen.starts[-1]
    at_once = replace(first, until=last.until, ending="finished", saves_at=None)
    whole, _ = run_start(chosen, at_once, root / "whole")
    if chosen.is_one_arithmetic:
        said += differences(state_of(whole), state_of(trainings[-1]))
        said += differences(journal_of(root / "whole"), journal_of(root / "stopped"))
    said += differences(samples_of(root / "whole"), samples_of(root / "stopped"))
    return said


def state_of(training: Training) -> dict[str, Any]:
    """Return every number of the state, and the digest of every tensor, by path."""
    values, tensors = flat(training.run.state.capture())
    return {**values, **digested(tensors), "position": training.run.position}


def journal_of(directory: Path) -> dict[str, Any]:
    """Return the line that counts of every step, without the number of the start."""
    lines = last_line_of_each_step(Layout(directory).journal)
    return {f"step {step}": {**line, "start": 0} for step, line in lines.items()}


def samples_of(directory: Path) -> dict[str, Any]:
    """Return of every step which samples it used."""
    return {step: line["sample_digest"] for step, line in journal_of(directory).items()}


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Name what differs, to the last bit; a stop may have trained some steps beyond the end."""
    return [
        f"the end differs: {name} is {found.get(name)}, without a stop {each}"
        for name, each in expected.items()
        if repr(each) != repr(found.get(name))
    ][:5]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(each, marks=pytest.mark.slow if each >= IN_EVERY_RUN else ())
        for each in range(0, CONFIGURATIONS, PORTION)
    ],
)
def test_a_clean_resume_raises_no_alarm(tmp_path: Path, first: int) -> None:
    """Every stop, resume and end of random trainings: all agrees, is proved, and ends as without a stop."""
    found = {n: resume_clean(draw(n), tmp_path / str(n)) for n in range(first, first + PORTION)}
    assert {} == {number: said for number, said in found.items() if said}
