"""Injects one fault: measures its effect without checks, and how a resume detects it.

How it was detected is determined from the run alone, without knowing the fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from unittest import mock

import torch

from unbroken.audit.strangers import Strangers
from unbroken.checks.root_cause import likely_cause
from unbroken.errors import Diverged, ResumeRefused, UnbrokenError
from unbroken.replay.replay import ReplayOutcome, ReplayVerdict
from unbroken.run.resume import ResumeReport
from unbroken.selftest.base import (
    SAVED_AT,
    SETTINGS,
    STEPS_AFTER,
    copy_tree,
    make_base,
)
from unbroken.selftest.fault import Fault, Scene
from unbroken.selftest.training import TrainingPlan, TrialTraining, build, train
from unbroken.selftest.unchecked_resume import resume_unchecked
from unbroken.state.training_state import TrainingState

UNTIL = SAVED_AT + STEPS_AFTER


class DetectionKind(StrEnum):
    """How a fault can be detected."""

    IMPOSSIBLE = "impossible by design"
    """It was injected, and the run gave the same result to the last bit."""
    FELL_BACK = "fell back"
    """The damaged checkpoint was set aside, and an earlier one continued exactly."""
    CHECK = "check"
    """The checks refused the resume."""
    REFUSED = "refused"
    """An error named the problem, before or without the checks."""
    REPLAY = "replay"
    """A repeated step gave a different result."""
    WATCH = "watch"
    """The watch reported the trend after the resume."""
    WARNED = "warned"
    """The report names it, and the run continued."""
    MISSED = "MISSED"
    """It was not detected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How a resume detected a fault."""

    how: DetectionKind
    by: str = ""
    """The id of the leading check, the kind of error, or `replay: ` and the cause of a divergence."""
    says: str = ""
    """The first sentence for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of an undetected fault on the next 20 steps, compared with a resume without it."""

    loss: float = 0.0
    """Largest relative difference of the loss of a step."""
    weights: float = 0.0
    """Norm of the difference of all common weights by their norm, after the last step."""
    ends_by: str = ""
    """The error with which plain PyTorch ends, if it does."""

    @property
    def is_none(self) -> bool:
        """Whether the results are the same to the last bit; then it is not a fault."""
        return not (self.loss or self.weights or self.ends_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one fault."""

    fault: Fault
    effect: Effect
    detection: Detection

    @property
    def is_met(self) -> bool:
        """Whether it was detected."""
        return self.detection.how is not DetectionKind.MISSED

    @property
    def is_named(self) -> bool:
        """Whether the cause was named correctly; an impossible fault needs no cause."""
        if self.detection.how is DetectionKind.IMPOSSIBLE:
            return True
        return not {self.detection.by, str(self.detection.how)}.isdisjoint(self.fault.cause)


@dataclass(frozen=True, slots=True)
class _End:
    """The final state of a training."""

    losses: list[float]
    weights: dict[str, torch.Tensor]

    @classmethod
    def of(cls, training: TrialTraining) -> _End:
        weights = training.model.state_dict()
        weights |= {f"ema.{k}": each for k, each in training.ema.state_dict().items()}
        return cls(
            [each.losses["loss"] for each in training.results],
            {name: each.detach().clone().double() for name, each in weights.items()},
        )

    def is_same(self, other: _End) -> bool:
        return all(map(torch.equal, self.weights.values(), other.weights.values())) and (
            self.losses[-STEPS_AFTER:] == other.losses[-STEPS_AFTER:]
        )


class Trials:
    """Injects faults, each into a copy of the same killed run.

    Args:
        root: An empty directory to work in.
        device: The device to train on.
    """

    def __init__(self, root: Path, device: str = "cpu") -> None:
        self._root = root
        self._device = device
        self._clean: dict[str, _End] = {}
        self._unchecked_clean: dict[str, _End] = {}
        self._count = 0

    def try_fault(self, fault: Fault) -> Result:
        """Inject a fault twice, without and with checks; return the result."""
        self._require_base(fault.setting)
        effect = self._unseen(fault)
        return Result(fault=fault, effect=effect, detection=self.detect(fault))

    def _require_base(self, setting: str) -> None:
        """Train a setting and resume it without a fault, without and with checks."""
        if setting in self._clean:
            return
        make_base(setting, self._root / setting, self._device)
        self._unchecked_clean[setting] = self._unchecked(self._scene(setting))
        scene = self._scene(setting)
        training = build(scene.plan, scene.directory)
        training.run.resume()
        train(training, UNTIL)
        training.run.close()
        self._clean[setting] = _End.of(training)
        if scene.plan.unchecked_order is None:
            assert self._clean[setting].is_same(self._unchecked_clean[setting])

    def _scene(self, setting: str) -> Scene:
        self._count += 1
        directory = self._root / f"trial-{self._count}"
        copy_tree(self._root / setting, directory)
        plan: TrainingPlan = SETTINGS[setting]()
        plan.device = self._device
        return Scene(plan=plan, directory=directory)

    def _unchecked(self, scene: Scene) -> _End:
        scratch = self._root / f"unchecked-{self._count}"
        with _asking_nothing():
            training = resume_unchecked(scene.plan, scene.checkpoint, scratch)
            try:
                train(training, UNTIL)
            finally:
                training.run.close()
        return _End.of(training)

    def _unseen(self, fault: Fault) -> Effect:
        scene = self._scene(fault.setting)
        scene.plan.on_nonfinite = "skip"
        with scene.patches:
            fault.inject(scene)
            try:
                end = self._unchecked(scene)
            except Exception as error:  # noqa: BLE001  # whatever a program may end by
                return Effect(ends_by=type(error).__name__)
        return _effect(self._unchecked_clean[fault.setting], end)

    def detect(self, fault: Fault) -> Detection:
        """Inject a fault into a run with all checks; return how it was detected."""
        self._require_base(fault.setting)
        scene = self._scene(fault.setting)
        with scene.patches:
            fault.inject(scene)
            return self._resume(scene, self._clean[fault.setting])

    def _resume(self, scene: Scene, clean: _End) -> Detection:
        training: TrialTraining | None = None
        try:
            training = build(scene.plan, scene.directory)
            report = training.run.resume()
            training.run.monitor.listen(_nowhere)
            for hook in scene.plan.after_resume:
                hook(training)
            train(training, UNTIL)
        except UnbrokenError as error:
            begun = training.run if training is not None and training.run.run_id else None
            return _of_error(error, begun.monitor.verdict if begun else None)
        except Exception as error:  # noqa: BLE001  # whatever a program may end by
            return Detection(how=DetectionKind.REFUSED, by=type(error).__name__, says=str(error))
        finally:
            if training is not None:
                with suppress(UnbrokenError, OSError):
                    training.run.close()
        return _of_end(training, report, _End.of(training).is_same(clean))


@contextmanager
def _asking_nothing() -> Iterator[None]:
    """Train as a loop does that looks at nothing: also what no start could go on with."""
    looks = [(TrainingState, "require_resumable"), (Strangers, "before_backward"),
             (Strangers, "before_update")]  # fmt: skip
    with ExitStack() as stack:
        for owner, name in looks:
            stack.enter_context(mock.patch.object(owner, name))
        yield


def _effect(clean: _End, end: _End) -> Effect:
    pairs = zip(clean.losses, end.losses, strict=False)
    loss = max((_relative(a, b) for a, b in pairs), default=0.0)
    squares = [0.0, 0.0]
    for name, weight in clean.weights.items():
        other = end.weights.get(name)
        if other is None:
            continue
        both = tuple(map(slice, map(min, weight.shape, other.shape)))
        squares[0] += float((other[both] - weight[both]).square().sum())
        squares[1] += float(weight[both].square().sum())
    return Effect(loss=loss, weights=math.sqrt(squares[0] / squares[1]))


def _relative(was: float, now: float) -> float:
    return abs(now - was) / abs(was) if math.isfinite(now) else math.inf


def _of_error(error: UnbrokenError, verdict: ReplayVerdict | None) -> Detection:
    if isinstance(error, Diverged):
        is_replay = verdict is not None and verdict.outcome is ReplayOutcome.DIVERGED
        differed = verdict.cause if verdict is not None and is_replay else "first steps"
        return Detection(how=DetectionKind.REPLAY, by=f"replay: {differed}", says=error.what)
    if isinstance(error, ResumeRefused) and error.report is not None:
        cause = likely_cause(error.report)
        assert cause is not None  # a refusal has an open finding
        says = cause.lead.headline or cause.because
        return Detection(how=DetectionKind.CHECK, by=cause.lead.id, says=says)
    return Detection(how=DetectionKind.REFUSED, by=type(error).__name__, says=error.what)


def _of_end(training: TrialTraining, report: ResumeReport, is_same: bool) -> Detection:
    monitor = training.run.monitor
    if report.position.step != SAVED_AT:
        how = DetectionKind.FELL_BACK if is_same else DetectionKind.WARNED
        return Detection(how=how, by="fell back", says="; ".join(report.notes))
    for each in report.checks.warnings:
        return Detection(how=DetectionKind.WARNED, by=each.id, says=each.headline or each.numbers)
    for remark in monitor.remarks:
        if remark.is_alarm:
            return Detection(
                how=DetectionKind.WATCH, by=f"watch: {remark.kind}", says=remark.sentence
            )
    if is_same:
        return Detection(how=DetectionKind.IMPOSSIBLE)
    for change in monitor.verdict.changes if monitor.verdict else ():
        return Detection(
            how=DetectionKind.WARNED, by=f"replay: {change.name}", says=str(monitor.verdict)
        )
    return Detection(how=DetectionKind.MISSED)


def _nowhere(line: str) -> None:
    """Discard a line; it is in the history."""
    del line
