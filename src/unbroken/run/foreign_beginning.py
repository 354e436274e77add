"""A run that begins where a training of another program stood: at its step, in our order."""

from __future__ import annotations

from dataclasses import replace

from unbroken.errors import SettingsInvalid
from unbroken.run import misuse
from unbroken.run.open import OpenRun
from unbroken.run.order import Order
from unbroken.state.position import Position
from unbroken.state.training_state import TrainingState


def begin_at(position: Position, state: TrainingState, order: Order, opened: OpenRun) -> None:
    """Let the state of a run that has just begun stand at a position.

    Args:
        position: Where the other training stood: between two steps.
        state: Of the run.
        order: The run's.
        opened: The run; its history keeps where it begins.

    Raises:
        RunMisused: The run was resumed, or has trained.
        SettingsInvalid: The order has no such place, or the counters contradict each other.
    """
    has_past = opened.report.outcome == "resumed" or opened.report.steps_to_repeat
    if has_past or state.position != Position():
        raise misuse.not_new()
    if fault := _fault(position, order):
        raise SettingsInvalid(
            f"The run can't begin at {position}: {fault}.",
            "Samples, randomness and checkpoints follow from the position: it must be one of the run's.",
            "Give completed steps, updates, epochs and step batches of the epoch; 0 samples.",
        )
    state.begin_step(replace(position))
    opened.record.note("begins at", **position.state_dict())


def _fault(position: Position, order: Order) -> str:
    counters = position.state_dict()
    wrong = [name for name, each in counters.items() if type(each) is not int or each < 0]
    if wrong:
        return f"{wrong[0]} is {counters[wrong[0]]!r}, not a number from 0"
    if position.samples:
        return f"{position.samples} samples of a step whose gradients nobody has"
    steps = order.steps_in(position.epoch)
    if position.batch >= steps:
        return f"an epoch has {steps} step batches"
    if position.updates > position.step:
        return f"{position.updates} updates in {position.step} steps"
    return ""
