"""Proves, epoch by epoch, that each sample was used once, or finds where one was not.

1. Steps follow one another: none is missing.
2. Epochs follow one another: none is skipped, none comes back.
3. Where a start went on inside an epoch, what was used before is what its own order says was used.
4. At an epoch's end the sums of its steps add up to that of the order's list, which says how many of its
   samples differ; or to that of the names 0 to N-1, which needs nothing but the size of the data set.
5. Of an order that names places (a stream, a loop that draws its own), each step is the next place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from typing import Any, Literal

from unbroken.counts import counted
from unbroken.doctor.ledger_path import EpochList, Fault, TrainedPath, TrainedStep
from unbroken.doctor.ledger_starts import Starts, Used
from unbroken.order.sample_sum import MODULUS, count_samples
from unbroken.order.step_batches import sample_digest

Standing = Literal["proved", "open", "unproved", "faulty"]
"""What an epoch came to; `open` is one that isn't over, without repeat or gap so far."""

AS_DRAWN = "as its order drew"
BEGUN_ELSEWHERE = "begun elsewhere"
LEFT_OUT = "the order left out"
MOST_RECOMPUTED = 5_000_000
"""Largest data set whose sum is computed here from its size."""


@dataclass(slots=True)
class LedgerEpoch:
    """What an epoch of a run came to."""

    number: int
    first: int
    """Its first step in the journal."""
    last: int
    steps: int
    samples: int
    of: int | None
    """Samples of the data set; None if unknown."""
    starts: list[int]
    standing: Standing = "unproved"
    verdict: str = ""
    """In words."""
    total: int = 0
    """Sum of its samples."""
    given_up: int = 0
    """Samples of steps that the loop gave up."""
    faults: list[Fault] = field(default_factory=list)


def prove_epochs(path: TrainedPath, starts: Starts, order: Mapping[str, Any]) -> list[LedgerEpoch]:
    """Return the epochs of a path, each with its verdict.

    Args:
        path: The steps that made the state.
        starts: What the history tells.
        order: Facts of the order, as far as they are known.
    """
    groups = [list(each) for _, each in groupby(path.steps, key=lambda step: step.epoch)]
    found = []
    for i, steps in enumerate(groups):
        before = groups[i - 1][-1] if i else None
        after = groups[i + 1][0] if i + 1 < len(groups) else None
        proof = _Proof(steps, before, after, path=path, starts=starts, order=order)
        found.append(proof.epoch())
    return found


class _Proof:
    """The proof of one epoch.

    Args:
        steps: Its steps.
        before: The step before them; None if they are the first.
        after: The step after them; None if they are the last.
        path: All steps.
        starts: What the history tells.
        order: Facts of the order.
    """

    def __init__(
        self,
        steps: list[TrainedStep],
        before: TrainedStep | None,
        after: TrainedStep | None,
        *,
        path: TrainedPath,
        starts: Starts,
        order: Mapping[str, Any],
    ) -> None:
        self._steps, self._before, self._after = steps, before, after
        self._path, self._starts, self._order = path, starts, order
        self._ended = steps[-1].ended
        told = self._told_before(steps[0]) if before is None else None
        self._used = told or Used(0, 0)
        self._is_whole = before is not None or path.base_batch == 0 or told is not None
        self._are_places = self._names_places()
        size = self._ended.of if self._ended is not None else order.get("samples")
        self._of = size if type(size) is int and not self._are_places else None

    def epoch(self) -> LedgerEpoch:
        """Return the epoch with its verdict."""
        steps = self._steps
        number = steps[0].epoch
        faults = [each for each in self._path.faults if each.epoch == number]
        faults += [*self._between(), *self._within()]
        found = LedgerEpoch(
            number=number,
            first=steps[0].step,
            last=steps[-1].step,
            steps=len(steps),
            samples=self._used.samples + sum(each.samples for each in steps),
            of=self._of,
            starts=sorted({each.start for each in steps}),
            total=self._sum(),
            given_up=sum(each.samples for each in steps if each.is_given_up),
        )
        if not faults:
            found.standing, found.verdict, faults = self._concluded(found.samples)
        if faults:
            faults.sort(key=lambda each: each.step)
            found.standing, found.verdict = "faulty", faults[0].kind.upper()
        found.faults = faults
        return found

    def _told_before(self, step: TrainedStep) -> Used | None:
        """Return what the order of a step's start says was used of the epoch before it."""
        start = self._starts.by_number.get(step.start)
        told = start.used_before.get(step.step - 1) if start else None
        return told[1] if told and told[0] == step.epoch else None

    def _names_places(self) -> bool:
        """Say whether the samples are named after their places in epoch or run."""
        first = self._steps[0]
        return first.sum is None and first.digest in map(_digest, self._places(first, 0))

    def _places(self, step: TrainedStep, done: int) -> Iterator[str]:
        """Yield what a step can be called by an order that names places."""
        batch = done + ((self._path.base_batch or 0) if self._before is None else 0)
        yield f"batch {batch} of epoch {step.epoch}"
        yield f"iteration {step.step - 1}"

    def _between(self) -> Iterator[Fault]:
        """Yield the faults between this epoch and the one before it."""
        first, before = self._steps[0], self._before
        last = self._path.base if before is None else before.step
        if first.step != last + 1:
            yield _gap(last, first)
        if before is None:
            return
        if first.epoch < before.epoch:
            yield Fault(
                "repeat", first.epoch, first.step,
                f"epoch {first.epoch} comes again at step {first.step:,}, after epoch {before.epoch}",
            )  # fmt: skip
        skipped = next(
            (n for n in range(before.epoch + 1, min(first.epoch, before.epoch + 100))
             if n not in self._starts.left), None,
        )  # fmt: skip
        if skipped is not None:
            yield Fault(
                "gap", first.epoch, first.step,
                f"epoch {skipped} has no step: step {before.step:,} is of epoch {before.epoch}, "
                f"step {first.step:,} of epoch {first.epoch}",
            )  # fmt: skip

    def _within(self) -> Iterator[Fault]:
        """Yield the faults between the steps of this epoch."""
        samples, total, last = *self._used, self._steps[0].step - 1
        seen: dict[str, int] = {}
        for done, step in enumerate(self._steps):
            if step.step != last + 1:
                yield _gap(last, step)
            told = self._told_before(step)
            if told is not None and self._is_whole:
                yield from _contradiction(told, Used(samples, total), step)
            if step.digest in seen and self._may_not_repeat(step):
                yield Fault(
                    "repeat", step.epoch, step.step,
                    f"step {step.step:,} used the same samples as step {seen[step.digest]:,} of the "
                    "same epoch",
                )  # fmt: skip
            elif self._are_places and step.digest not in map(_digest, self._places(step, done)):
                yield _another_place(step)
            seen[step.digest] = last = step.step
            samples, total = samples + step.samples, (total + (step.sum or 0)) % MODULUS
            if step.sum is None:
                self._is_whole = False
            if step.ended is not None and step is not self._steps[-1]:
                said = f"epoch {step.epoch} was over after step {step.step:,}, and goes on after it"
                yield Fault("repeat", step.epoch, step.step + 1, said)

    def _may_not_repeat(self, step: TrainedStep) -> bool:
        """Say whether the order can't give a step the samples of another one in the same epoch."""
        if self._ended is not None:
            return self._ended.samples == self._ended.distinct
        is_own = "ids" in self._order and "mix" not in self._order
        return step.samples > 0 and (is_own or step.samples > 1 or self._are_places)

    def _concluded(self, samples: int) -> tuple[Standing, str, list[Fault]]:
        """Return the verdict of an epoch without a fault so far."""
        if self._ended is not None:
            return self._of_list(samples, self._ended)
        if self._are_places:
            return self._of_places()
        return self._without_end(samples)

    def _of_list(self, samples: int, ended: EpochList) -> tuple[Standing, str, list[Fault]]:
        """Compare the epoch with what its order's list holds."""
        if not self._is_whole:
            missing = sum(each.sum is None for each in self._steps)
            why = f"{counted(missing, 'step')} without a sum" if missing else BEGUN_ELSEWHERE
            return "unproved", f"not proved: {why}", []
        used = Used(samples, self._sum())
        if used != (ended.samples, ended.sum):
            return "faulty", "", [self._does_not_add_up(used, ended)]
        if ended.distinct < ended.samples:
            text = f"{AS_DRAWN}: {ended.distinct:,} different samples"
        elif ended.of is None or samples == ended.of:
            recomputed = ended.of is not None and sum_of_numbers(ended.of) == used.sum
            text = "each once (0 to N-1, recomputed)" if recomputed else "each once"
        elif samples < ended.of:
            text = f"each once; {LEFT_OUT} {ended.of - samples:,}"
        else:
            text = "each once"
        return "proved", text, []

    def _sum(self) -> int:
        return (self._used.sum + sum(each.sum or 0 for each in self._steps)) % MODULUS

    def _of_places(self) -> tuple[Standing, str, list[Fault]]:
        if self._after is None:
            is_step = self._steps[0].digest == _digest(f"iteration {self._steps[0].step - 1}")
            return "open", f"each {'step' if is_step else 'batch'} once so far", []
        is_left = self._steps[0].epoch in self._starts.left
        return "proved", "each batch once" + (", until the loop left it" if is_left else ""), []

    def _without_end(self, samples: int) -> tuple[Standing, str, list[Fault]]:
        """Return the verdict of an epoch whose end no line tells."""
        first, last = self._steps[0], self._steps[-1]
        has_sums = all(each.sum is not None for each in self._steps)
        if self._after is None:
            return "open", "no repeat and no gap so far", []
        if first.epoch in self._starts.left:
            return "open", "left early by the loop; no repeat and no gap before", []
        if has_sums:
            said = (
                f"epoch {last.epoch} stops after step {last.step:,}, before its order's end: step "
                f"{last.step + 1:,} is of epoch {self._after.epoch}"
            )
            return "faulty", "", [Fault("gap", last.epoch, last.step, said)]
        of, is_own = self._of, "ids" in self._order and "mix" not in self._order
        if of is not None and is_own and samples != of and self._is_from_its_beginning:
            kind = "gap" if samples < of else "repeat"
            said = f"epoch {last.epoch} used {counted(samples, 'sample')} of {of:,}"
            return "faulty", "", [Fault(kind, last.epoch, last.step, said)]
        if of is not None and samples == of:
            return "unproved", "as many as there are, not proved which", []
        return "unproved", "not proved which samples", []

    @property
    def _is_from_its_beginning(self) -> bool:
        return self._before is not None or self._path.base_batch == 0

    def _does_not_add_up(self, used: Used, ended: EpochList) -> Fault:
        last = self._steps[-1]
        others = [b.step for a, b in zip(self._steps, self._steps[1:], strict=False)
                  if a.start != b.start]  # fmt: skip
        at = others[0] if others else last.step
        kind, said = "other samples", f"{used.samples:,} samples, but not those of its order's list"
        if used.samples != ended.samples:
            kind = "gap" if used.samples < ended.samples else "repeat"
            said = f"{used.samples:,} samples; its order's list has {ended.samples:,}"
        where = (
            f"; another start went on at step {', '.join(map(str, others[:5]))}" if others else ""
        )
        return Fault(kind, last.epoch, at, f"epoch {last.epoch} used {said}{where}")


def _contradiction(told: Used, used: Used, step: TrainedStep) -> Iterator[Fault]:
    """Yield a fault where a start's order doesn't agree with the steps before it."""
    if told == used:
        return
    kind, said = "other samples", "other samples than the steps before it used"
    if told.samples != used.samples:
        kind = "repeat" if told.samples < used.samples else "gap"
        said = (
            f"{told.samples:,} samples of the epoch, and the steps before it used {used.samples:,}"
        )
    sentence = f"start {step.start} went on at step {step.step:,} as if after {said}"
    yield Fault(kind, step.epoch, step.step, sentence)


def _gap(last: int, step: TrainedStep) -> Fault:
    missing = f"step {last + 1:,} has" if step.step == last + 2 else (
        f"steps {last + 1:,} to {step.step - 1:,} have")  # fmt: skip
    return Fault("gap", step.epoch, last + 1, f"{missing} no line in the journal")


def _another_place(step: TrainedStep) -> Fault:
    said = f"step {step.step:,} used another batch than the one that follows"
    return Fault("other samples", step.epoch, step.step, said)


def _digest(name: str) -> str:
    return sample_digest([name])


@cache
def sum_of_numbers(count: int) -> int | None:
    """Return the sum of the names 0 to N-1; None if that would take long."""
    return count_samples(map(str, range(count))).sum if 0 <= count <= MOST_RECOMPUTED else None
