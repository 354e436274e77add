"""The errors of calls that come at the wrong time."""

from __future__ import annotations

from typing import TypeVar

from unbroken.errors import RunMisused, SaveFailed
from unbroken.state.training_state import TrainingState

Opened = TypeVar("Opened")


def opened(run: Opened | None, *, is_open: bool = True) -> Opened:
    """Return what a resume has opened.

    Raises:
        RunMisused: Nothing was resumed, or it is closed.
    """
    if run is None:
        raise not_resumed()
    if not is_open:
        raise closed()
    return run


def not_resumed() -> RunMisused:
    """Return the error of a call before `run.resume()`."""
    return RunMisused(
        "This run was not resumed: run.resume() comes before the first step.",
        "Only then is it known where it stands, and is its directory this process's.",
        'Call run.resume("auto") once all objects are built; it also begins a new run.',
    )


def closed() -> RunMisused:
    """Return the error of a call after `run.close()`."""
    return RunMisused(
        "This run was closed by run.close().",
        "Its directory was given back and may be another process's; nothing more can be saved.",
        "Call run.close() after the last step, or make a new Run(...) and resume it.",
    )


def can_not_train() -> RunMisused:
    """Return the error of a step with objects that a failed resume has left."""
    return RunMisused(
        "The resume of this run failed after its objects were changed: they can't train.",
        "They hold a part of the saved state, or what something else made of it.",
        "Build model and optimizer anew, make a new Run(...) of them and resume it.",
    )


def not_new() -> RunMisused:
    """Return the error of a run that is to begin elsewhere, and has a past of its own."""
    return RunMisused(
        "run.begin_at() was called on a run that was resumed or has trained.",
        "It stands where its own steps have brought it; elsewhere it would be another run.",
        "Begin a new run in a directory of its own, and call run.begin_at() before its first step.",
    )


def no_step_batches() -> RunMisused:
    """Return the error of who asks for the step batches of a run that has none."""
    return RunMisused(
        "run.order was asked for in a run that has no step batches.",
        "Its samples come from a loader, or from the loop itself.",
        "Ask run.position where it stands, and the loader for the rest.",
    )


def no_batch_to_log() -> RunMisused:
    """Return the error of a log outside of a batch."""
    return RunMisused(
        "run.log() was called while no batch is trained on.",
        "What it tells belongs to the line of a batch.",
        "Call it in the body of the loop over the batches; a score of a validation goes into run.metrics.",
    )


def nested_batches(call: str) -> RunMisused:
    """Return the error of a loop over batches inside another one."""
    return RunMisused(
        f"run.{call}() was called inside of a loop over the batches of the same run.",
        "Each batch that is handed out is a step of the run, and no step has another one inside.",
        "Read a second batch from a loader of its own, or do the inner loop after the outer one.",
    )


def batches_without_end(call: str) -> RunMisused:
    """Return the error of a loop that nothing tells to end."""
    return RunMisused(
        f"run.{call}() was called without until=, outside of run.epochs().",
        "Nothing says where the training ends.",
        "Give until=, the number of batches in all, or loop over run.epochs(...).",
    )


def batches_twice(call: str, epoch: int | None) -> RunMisused:
    """Return the error of a second loop over the batches of an epoch."""
    return RunMisused(
        f"run.{call}() was called a second time in epoch {epoch}, whose batches are done.",
        "It would train on nothing.",
        "Loop over run.epochs() for each pass through the data; a validation reads a loader of its own.",
    )


def no_further_batch() -> RunMisused:
    """Return the error of who goes on to a batch that the step doesn't have."""
    return RunMisused(
        "run.next_of_step() was called, and the step has no further batch.",
        "The randomness of the batch would be that of another place.",
        "Call it between two batches of one list that run.batches() has given.",
    )


def not_added_again(names: list[str]) -> RunMisused:
    """Return the error of a step, or a save, without parts that the checkpoint has."""
    listed = ", ".join(map(repr, names))
    call = f"run.add_part({names[0]!r}, ...)"
    return RunMisused(
        f"The checkpoint has {listed}, added by run.add_part while training; this start has not.",
        "Its state would be lost, and the run go on without it.",
        f"Where its phase has begun, call {call} after run.resume() and before the first step.",
    )


def not_savable(state: TrainingState) -> SaveFailed:
    """Return the error about a place in a step from which no start could go on."""
    if state.has_uncounted:
        return SaveFailed(
            "save() was called after backward(), before the end of its micro-batch.",
            "The gradients have this micro-batch in them, the position does not: the next start "
            "would use its samples twice. Nothing was saved.",
            "Call save() before backward(), or after the step.",
        )
    if state.is_updated:
        return SaveFailed(
            f"save() was called after the update of step {state.position.step + 1}, before its end.",
            "The next start would make the update again. Nothing was saved.",
            "Call save() after run.end_step() or step.end().",
        )
    why = (
        "the gradients have a graph (create_graph=True), which can't be saved"
        if state.has_graph
        else "no gradient is in of the samples that were counted"
    )
    return SaveFailed(
        f"save() was called inside step {state.position.step + 1}, and {why}.",
        "The next start could not go on from here. Nothing was saved.",
        "Call save() after the step.",
    )


def step_batches_of_one_process(count: int) -> RunMisused:
    """Return the error for step batches that several processes are to train."""
    return RunMisused(
        f"Run(order=) trains in one process, and {count} are started.",
        "Each of them would train on all samples of each step.",
        "Give Run(data=) a DataLoader with a DistributedSampler, or start one process.",
    )
