"""Runs the self-test: injects every fault of the catalogue, in two processes if there are many."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from unbroken.checkpoint import disk
from unbroken.selftest.base import WithoutSyncs
from unbroken.selftest.catalogue import FAULTS, KNOWN_MISSED
from unbroken.selftest.trial import Result, Trials

FEW = 8
"""Up to this number of faults run in this process, since another one takes seconds to start."""
BLIND = "blind"
"""The area of the faults written by somebody who had not read the checks."""
NAMED_AT_LEAST = 0.95
"""Share of the faults whose cause must be named correctly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """The result of one fault, for display."""

    id: str
    sentence: str
    area: str
    mechanism: str
    source: str
    loss: float
    """See `unbroken.selftest.trial.Effect`."""
    weights: float
    ends_by: str
    how: str
    """See `unbroken.selftest.trial.DetectionKind`."""
    by: str
    says: str
    is_fault: bool
    """Whether it has any effect if undetected."""
    is_met: bool
    is_named: bool


_trials: dict[int, Trials] = {}
"""The trials of this process, by its id."""


def run_selftest(root: Path, ids: Sequence[str], device: str = "cpu") -> Iterator[TrialRow]:
    """Inject faults, and yield the result of each, in order.

    Args:
        root: An empty directory to work in, on a fast disk or in memory.
        ids: The ids of the faults.
        device: The device to train on.
    """
    if len(ids) <= FEW or device != "cpu" or (os.cpu_count() or 1) < 2:
        with _alone():
            trials = Trials(root, device)
            yield from (_row(trials, each) for each in ids)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawn, initializer=_begin, initargs=(root, device)) as pool:
        yield from pool.map(_try, ids)


@contextmanager
def _alone() -> Iterator[None]:
    """Compute on one thread and without fsync in the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with mock.patch.object(disk, "system", WithoutSyncs()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch may warn about a fault
            yield
    finally:
        torch.set_num_threads(threads)


def _begin(root: Path, device: str) -> None:
    torch.set_num_threads(1)
    disk.system = WithoutSyncs()
    warnings.simplefilter("ignore")
    own = root / str(os.getpid())
    disk.make_new_directory(own)
    _trials[os.getpid()] = Trials(own, device)


def _try(id_: str) -> TrialRow:
    return _row(_trials[os.getpid()], id_)


def _row(trials: Trials, id_: str) -> TrialRow:
    result: Result = trials.try_fault(next(each for each in FAULTS if each.id == id_))
    fault, effect, detection = result.fault, result.effect, result.detection
    return TrialRow(
        id=fault.id,
        sentence=fault.sentence,
        area=fault.area,
        mechanism=fault.mechanism,
        source=fault.source,
        loss=effect.loss,
        weights=effect.weights,
        ends_by=effect.ends_by,
        how=detection.how,
        by=detection.by,
        says=detection.says,
        is_fault=not effect.is_none,
        is_met=result.is_met,
        is_named=result.is_named,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of the rows; faults without an effect don't count."""

    faults: int
    mechanisms: int
    met: int
    named: int
    no_fault: tuple[str, ...]
    """Ids of those without an effect."""

    @classmethod
    def of(cls, rows: Sequence[TrialRow]) -> Score:
        """Count."""
        faults = [each for each in rows if each.is_fault]
        return cls(
            faults=len(faults),
            mechanisms=len({each.mechanism for each in faults}),
            met=sum(each.is_met for each in faults),
            named=sum(each.is_named for each in faults),
            no_fault=tuple(each.id for each in rows if not each.is_fault),
        )

    @classmethod
    def blind(cls, rows: Sequence[TrialRow]) -> Score:
        """Return the score of those written by somebody who had not read the checks."""
        return cls.of([each for each in rows if each.area == BLIND])

    @property
    def is_passed(self) -> bool:
        """Whether every fault was detected, and enough causes were named correctly."""
        is_named = self.named >= NAMED_AT_LEAST * self.faults
        return self.met == self.faults > 0 and is_named and not self.no_fault


def is_passed(rows: Sequence[TrialRow]) -> bool:
    """Return whether the self-test passed; of the blind faults, only known ones may be missed."""
    read = [each for each in rows if each.area != BLIND]
    blind = [each for each in rows if each.area == BLIND]
    missed = {each.id for each in blind if not each.is_met}
    is_known = missed <= KNOWN_MISSED and not Score.of(blind).no_fault
    return is_known and (not read or Score.of(read).is_passed)
