"""Faults of the learning rate: its schedule, its position, who sets it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from unbroken.loop.schedule import Schedule
from unbroken.selftest.base import chained_schedules
from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrainingPlan, TrialTraining

AREA = Area("rate")
RATE = ("replay: rate", "learning-rate-continues", "rate-is-the-schedules")


def _factor_by_hand(factor: float, scene: Scene) -> None:
    def set_rates(training: TrialTraining) -> None:
        for group in training.optimizer.param_groups:
            group["lr"] *= factor

    scene.plan.before_step.append(set_rates)


for percent in (101, 50, 1000):
    AREA.fault(
        f"rate-times-{percent}-percent",
        f"the loop sets the learning rate itself, to {percent} % of the schedule's",
        *RATE,
        mechanism="rate-set-in-the-loop",
        source="R18",
    )(partial(_factor_by_hand, percent / 100))


def _base_rate(factor: float, scene: Scene) -> None:
    scene.plan.learning_rate *= factor


for name, factor in (("a-tenth", 0.1), ("double", 2.0)):
    AREA.fault(
        f"base-rate-{name}",
        f"the command asks for another learning rate ({name})",
        "settings-unchanged",
        mechanism="another-base-rate",
        source="A7, R21",
    )(partial(_base_rate, factor))


@AREA.fault("shorter-schedule", "the schedule is made for fewer steps", "settings-unchanged",
    "schedule-unchanged", mechanism="longer-schedule", source="A6")  # fmt: skip
def _shorter(scene: Scene) -> None:
    scene.plan.total = 33


@AREA.fault("longer-warm-up", "the warm-up is longer, and the rate climbs a second time",
    "settings-unchanged", "schedule-unchanged", source="R12")  # fmt: skip
def _warm_up(scene: Scene) -> None:
    scene.plan.warmup = 25


@AREA.fault("schedule-built-over-again", "after the resume the schedule is built anew, at its start",
    *RATE, source="R13")  # fmt: skip
def _schedule_anew(scene: Scene) -> None:
    def anew(training: TrialTraining) -> None:
        for group, base in zip(training.optimizer.param_groups, (4e-3, 2e-3), strict=True):
            group["lr"] = base
        made = scene.plan.build_schedule(scene.plan, training.optimizer)
        training.run.schedulers[:] = [made]

    scene.plan.after_resume.append(anew)


@AREA.fault("schedule-stepped-twice", "the loop steps the schedule that the run steps as well",
    *RATE, source="R10")  # fmt: skip
def _stepped_twice(scene: Scene) -> None:
    scene.plan.after_step.append(lambda training: training.schedule.step())


@AREA.fault("schedule-advanced-on-load", "the loader advances the schedule by the steps done again",
    *RATE, "other-state-identical", mechanism="schedule-stepped-after-the-resume",
    source="R10")  # fmt: skip
def _advanced(scene: Scene) -> None:
    def advance(training: TrialTraining) -> None:
        for _ in range(training.run.position.updates):
            training.schedule.step()

    scene.plan.after_resume.append(advance)


@AREA.fault("schedule-counts-epochs", "the schedule's counter is seeded with the epoch", *RATE,
    "other-state-identical", source="R12")  # fmt: skip
def _counts_epochs(scene: Scene) -> None:
    def seed(training: TrialTraining) -> None:
        training.schedule.updates = training.run.position.epoch
        training.schedule.apply()

    scene.plan.after_resume.append(seed)


@AREA.fault("schedule-never-stepped", "the schedule that is stepped is not the one that sets the rate",
    *RATE, source="R18")  # fmt: skip
def _never_stepped(scene: Scene) -> None:
    scene.plan.after_resume.append(lambda training: training.run.schedulers.clear())


@AREA.fault("other-curve", "the schedule is of another kind: constant after the warm-up",
    "schedule-unchanged", "learning-rate-continues", source="R08")  # fmt: skip
def _other_curve(scene: Scene) -> None:
    def constant(plan: TrainingPlan, optimizer: Any) -> Any:
        numbers = {"warmup": plan.warmup, "total": plan.total}
        return Schedule(optimizer, lambda done: min(1.0, (done + 1) / plan.warmup), numbers)

    scene.plan.build_schedule = constant


@AREA.fault("chained-schedule-built-last", "the chained schedule is built after the optimiser was "
    "loaded, and its constructor writes the rate", *RATE, source="R01, R03",
    setting="torch")  # fmt: skip
def _chained_last(scene: Scene) -> None:
    def anew(training: TrialTraining) -> None:
        state = training.schedule.state_dict()
        made = chained_schedules(scene.plan, training.optimizer)
        made.load_state_dict(state)
        training.run.schedulers[:] = [made]

    scene.plan.after_resume.append(anew)


@AREA.fault("optimizer-keeps-base-rate", "only the schedule is loaded; the optimiser keeps its "
    "base rate", *RATE, source="R02", setting="torch")  # fmt: skip
def _keeps_base(scene: Scene) -> None:
    def put_back(training: TrialTraining) -> None:
        for group in training.optimizer.param_groups:
            group["lr"] = scene.plan.learning_rate

    scene.plan.after_resume.append(put_back)


@AREA.fault("schedule-state-not-loaded", "PyTorch's schedule takes nothing in on loading",
    "other-state-identical", "counters-agree", "learning-rate-continues", source="R15",
    setting="torch")  # fmt: skip
def _not_loaded(scene: Scene) -> None:
    chained = torch.optim.lr_scheduler.SequentialLR
    scene.replace(chained, "load_state_dict", lambda _self, _state: None)


@AREA.fault("schedule-loses-its-counter", "PyTorch's schedule drops its counter on loading",
    "other-state-identical", "counters-agree", "learning-rate-continues", source="R13, R16",
    setting="torch")  # fmt: skip
def _loses_counter(scene: Scene) -> None:
    chained = torch.optim.lr_scheduler.SequentialLR
    load = chained.load_state_dict

    def late(self: Any, state: Any) -> None:
        load(self, state)
        self.last_epoch -= 5

    scene.replace(chained, "load_state_dict", late)
