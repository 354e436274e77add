"""Faults that one check alone stands against, or that it alone names: each is that check's reason to be.

They stand beside those of the self-test's catalogue: some change no bit of this tiny training (another
version of PyTorch), some need a checkpoint as only another program leaves it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from support.rewritten_checkpoint import Change, rewrite
from unbroken.loop.schedule import Schedule, warmup_cosine
from unbroken.order import step_batches
from unbroken.run import objects, run
from unbroken.selftest import training as program
from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrainingPlan
from unbroken.state.facts import environment
from unbroken.state.mix import permutation
from unbroken.state.modules import TENSORS
from unbroken.state.random_streams import PositionStreams

AREA = Area("single")
FORECASTS = ("rates", "scheduled", "next_rates")


def _elsewhere(name: str, value: Any, scene: Scene) -> None:
    scene.replace(objects, "environment", lambda: {**environment(), name: value})


for _id, _sentence, _check, _name, _value in (
    ("another-torch", "PyTorch is another version", "pytorch-version-unchanged", "torch", "1.0"),
    ("another-device", "there is a graphics card now", "gpus-unchanged", "devices", ["one"]),
    ("more-threads", "more threads compute", "execution-unchanged", "threads", 64),
):
    AREA.fault(_id, _sentence, _check)(partial(_elsewhere, _name, _value))


def _changed(change: Change, updates: int, scene: Scene) -> None:
    rewrite(scene.checkpoint, change, updates=updates)


def _strip(parts: dict[str, Any], evidence: dict[str, Any]) -> None:
    state = parts["optimizer"]["state"]
    state.pop(next(iter(state)))


def _spoil_a_moment(parts: dict[str, Any], evidence: dict[str, Any]) -> None:
    state = parts["optimizer"]["state"]
    next(iter(state.values()))["exp_avg"].view(-1)[0] = torch.nan


def _move_base_rows(parts: dict[str, Any], evidence: dict[str, Any]) -> None:
    parts["model"][TENSORS]["old_voices"].add_(0.1)
    evidence.pop("probe")


def _forget_forecasts(parts: dict[str, Any], evidence: dict[str, Any]) -> None:
    for name in FORECASTS:
        evidence.pop(name)
    evidence["repaired"] = {"what": "schedule", "without": ["learning-rate-continues"]}


def _hold_another_rate(parts: dict[str, Any], evidence: dict[str, Any]) -> None:
    _forget_forecasts(parts, evidence)
    for group in parts["optimizer"]["groups"]:
        group["lr"] *= 2


for _id, _sentence, _check, _change, _updates in (
    ("moments-stripped", "a tool left moments out", "optimizer-covers-parameters", _strip, 0),
    ("moment-not-a-number", "a moment is NaN", "values-are-finite", _spoil_a_moment, 0),
    ("base-rows-moved", "frozen rows moved before the save", "frozen-rows-unmoved",
     _move_base_rows, 0),
    ("counter-ahead", "the position counts an update too many", "counters-agree",
     _forget_forecasts, 1),
):  # fmt: skip
    AREA.fault(_id, _sentence, _check)(partial(_changed, _change, _updates))


@AREA.fault("rate-of-another-run", "the optimiser holds another rate than its schedule gives",
    "rate-is-the-schedules", setting="torch")  # fmt: skip
def _rate_of_another_run(scene: Scene) -> None:
    rewrite(scene.checkpoint, _hold_another_rate)


@AREA.fault("journal-gone", "the journal was deleted, so nothing can be proved", "logs-continue")
def _journal_gone(scene: Scene) -> None:
    (scene.checkpoint.parents[1] / "journal.jsonl").unlink()


@AREA.fault("average-forgotten", "the averaged weights are not declared", "parts-complete")
def _average_forgotten(scene: Scene) -> None:
    def declared(*args: Any, **parts: Any) -> run.Run:
        return run.Run(*args, **{name: each for name, each in parts.items() if name != "ema"})

    scene.replace(program, "Run", declared)


@AREA.fault("another-fact", "a file that the user declared is another one", "other-facts-unchanged")
def _another_fact(scene: Scene) -> None:
    facts = TrainingPlan.facts
    scene.replace(TrainingPlan, "facts", lambda plan: {**facts(plan), "speakers": "another"})


@AREA.fault("other-betas", "the code asks for other betas", "optimizer-options-unchanged")
def _other_betas(scene: Scene) -> None:
    def build(plan: TrainingPlan, model: Any) -> Any:
        made = program.optimizer_of(plan, model)
        for group in made.param_groups:
            group["betas"] = (0.5, 0.9)
        return made

    scene.plan.build_optimizer = build


@AREA.fault("longer-curve", "the curve is longer, though no setting says so", "schedule-unchanged")
def _longer_curve(scene: Scene) -> None:
    def build(plan: TrainingPlan, optimizer: Any) -> Schedule:
        numbers = {"warmup": plan.warmup, "total": 90}
        return Schedule(optimizer, warmup_cosine(plan.warmup, 90), numbers)

    scene.plan.build_schedule = build


@AREA.fault("mode-changed-by-a-load", "loading the schedule puts the model into evaluation mode",
    "training-mode-unchanged")  # fmt: skip
def _mode_changed(scene: Scene) -> None:
    load = Schedule.load_state_dict
    models: list[Any] = []
    scene.plan.after_build.append(lambda training: models.append(training.model))

    def and_evaluate(schedule: Schedule, state: Any) -> None:
        load(schedule, state)
        models[0].eval()

    scene.replace(Schedule, "load_state_dict", and_evaluate)


@AREA.fault("another-permutation", "a new version shuffles otherwise", "next-samples-identical")
def _another_permutation(scene: Scene) -> None:
    scene.replace(
        step_batches, "permutation", lambda count, *keys: permutation(count, *keys)[::-1].copy()
    )


@AREA.fault("another-scheme", "a new version derives seeds otherwise", "random-streams-continue")
def _another_scheme(scene: Scene) -> None:
    seed_at = PositionStreams.seed_at
    scene.replace(PositionStreams, "seed_at", lambda self, position: seed_at(self, position) ^ 1)
