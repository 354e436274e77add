"""What an old run has suffered so far, in numbers, as far as its files tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unbroken import counted
from unbroken_tts.rescue.base_rows import drift, rows_with_momentum
from unbroken_tts.rescue.earlier_schedule import warmup_cosine_legacy
from unbroken_tts.rescue.old_schedule import is_same_rate, rate_at
from unbroken_tts.rescue.starts import first_steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unbroken_tts.model.base import BaseWeights
    from unbroken_tts.rescue.old_checkpoint import Geometry, OldCheckpoint
    from unbroken_tts.rescue.old_directory import OldRun


def suffered(
    run: OldRun,
    cut: Geometry,
    samples: int,
    curve: tuple[int, int],
    base: BaseWeights | None,
    frozen: int,
) -> list[str]:
    """Return a line for each kind of damage, also where there is none.

    Args:
        run: The files.
        cut: How steps were cut at the end.
        samples: Of the training data then.
        curve: Warm-up and length of the learning-rate curve, in updates.
        base: The base checkpoint; None if it isn't there.
        frozen: Text rows that are to be the base's.
    """
    return [
        *_files(run),
        *_rows(run, base, frozen, curve),
        *_order(run, cut, samples),
        *_rates(run, curve),
        *_batches(run, cut, samples),
        *_counters(run.best.old, run),
    ]


def _files(run: OldRun) -> Iterator[str]:
    yield f"files: {len(run.readable) + _unread(run)} found, {len(run.damaged)} skipped"
    for each in run.damaged:
        yield f"skipped: {each.why}"
    lost = max((each.step for each in run.readable), default=0) - run.best.old.step
    if lost > 0:
        yield f"lost with them: {counted(lost, 'step')}, which are trained again"


def _unread(run: OldRun) -> int:
    read = {each.path for each in run.readable}
    return sum(each.path not in read for each in run.damaged)


def _rows(
    run: OldRun, base: BaseWeights | None, frozen: int, curve: tuple[int, int]
) -> Iterator[str]:
    if base is None:
        yield "base rows: not compared; name the gpt.pth of the old run with --base-checkpoint"
        return
    moved = drift(run.best, base)
    if not moved:
        yield f"base rows: not compared; {base.origin} has text tables of another shape"
        return
    if not frozen:
        yield "base rows: none is frozen (the vocabulary is the base's, or all rows are trained)"
        yield from (f"  trained with the rest: {each}" for each in moved)
        return
    yield f"base rows: {frozen} should be the base's"
    yield from (f"  {each}" for each in moved)
    yield f"  weight decay alone makes {_decayed(run.best.old, curve):.5f} of their norm"
    trained = rows_with_momentum(run.best, frozen)
    yield f"  Adam's momentum would still move {counted(trained, 'row')}"
    if trained:
        yield "  they were trained for a while; to go on training them, give --train-base-rows"
    yield "  from here on they stay as they are; --restore-base-rows makes them the base's again"


def _decayed(old: OldCheckpoint, curve: tuple[int, int]) -> float:
    """Return what decoupled decay leaves of a weight without gradient after the steps so far."""
    factor, left = warmup_cosine_legacy(*curve), 1.0
    decay = float(old.options.get("weight_decay", 0.0))
    for update in range(old.last_epoch):
        left *= 1 - old.base_rate * factor(update) * decay
    return left


def _order(run: OldRun, cut: Geometry, samples: int) -> Iterator[str]:
    starts = first_steps(_directory(run))
    if not starts:
        yield "epochs in manifest order: unknown; no event files of its starts lie in logs/"
        return
    each = max(1, cut.batches_per_epoch(samples) // cut.accumulation)
    broken = [(step, (step - 1) // each, (step - 1) % each) for step in starts[1:] if step > 1]
    inside = [(step, epoch, done) for step, epoch, done in broken if done]
    yield (
        f"epochs in manifest order: {counted(len(starts), 'start')} seen, "
        f"{len(inside)} resumed inside an epoch"
    )
    for step, epoch, done in inside:
        used = done * cut.effective
        yield (
            f"  first logged step {step}: the last {samples - used} lines of the manifest were trained as "
            f"the rest of epoch {epoch + 1}; about {round((samples - used) * used / samples)} of "
            "them a second time, and as many others not at all"
        )


def _directory(run: OldRun) -> Path:
    return run.best.old.path.parent


def _rates(run: OldRun, curve: tuple[int, int]) -> Iterator[str]:
    off = [
        (each, expected)
        for each in run.readable
        if not is_same_rate(each.rate, expected := rate_at(each, *curve))
    ]
    yield (
        f"learning rate: {len(run.readable) - len(off)} of {counted(len(run.readable), 'file')} on "
        f"the curve with warm-up {curve[0]} and {curve[1]} steps"
    )
    for each, expected in off:
        yield (
            f"  {each.name}, step {each.step}: {each.rate:.4g}, the curve has {expected:.4g} "
            f"(a jump by {_share(each.rate, expected)})"
        )


def _share(found: float, expected: float) -> str:
    return f"{abs(found - expected) / expected:.1%}" if expected else f"{found:.4g}"


def _batches(run: OldRun, cut: Geometry, samples: int) -> Iterator[str]:
    other = [each for each in run.readable if each.geometry not in (None, cut)]
    odd = [
        (each, expected)
        for each in run.readable
        if (expected := cut.steps_at(samples, each.epoch, each.batch_idx)) != each.step
    ]
    if not other and not odd:
        yield f"batch size: {cut} throughout, as far as the counters tell"
    for each in other:
        yield f"batch size: {each.name}, step {each.step}, was cut {each.geometry}, the last {cut}"
    for each, expected in odd:
        yield (
            f"batch size: {each.name} stands at step {each.step}; {cut} over {samples} samples "
            f"would be step {expected}: batch size or data changed, samples were skipped, or "
            "--max-steps ended the run inside an epoch"
        )


def _counters(old: OldCheckpoint, run: OldRun) -> Iterator[str]:
    counts = [each.step.item() for each in run.best.moments.values()]
    low, high = int(min(counts)), int(max(counts))
    if low == high == old.last_epoch == old.step:
        yield f"counters: step, schedule and optimiser agree at {old.step}"
    else:
        yield (
            f"counters: step {old.step}, schedule {old.last_epoch}, optimiser {low} to {high} "
            "(updates that a scaler skipped, or moments that began anew)"
        )
    yield "values: no NaN and no infinity in weights and moments"
