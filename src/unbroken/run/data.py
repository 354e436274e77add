"""Where the order of a run comes from: step batches, a loader of the program's own, or the loop itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch.utils.data import DataLoader, IterableDataset

from unbroken.checkpoint.kept_order import KeptOrder
from unbroken.checkpoint.layout import Layout
from unbroken.checks import Advice, Check
from unbroken.checks.last_batch_identical import LastBatchIdentical
from unbroken.checks.next_samples_identical import NextSamplesIdentical
from unbroken.errors import RunMisused, SettingsInvalid
from unbroken.loaders.iterations import Iterations
from unbroken.loaders.sampled_batches import SampledBatches
from unbroken.loaders.sampled_epochs import SampledEpochs
from unbroken.loaders.sampled_order import SampledOrder
from unbroken.loaders.stream import Stream, require_iterable
from unbroken.order.step_batches import StepBatches
from unbroken.run.order import Batches, Order, OrderedData
from unbroken.run.resume import ResumePolicy

_ADVICE: Final = {
    "order-unchanged": Advice(
        cause="The program was seeded otherwise, or the loader has another sampler.",
        remedy="Give the loader the run's sampler, and call torch.manual_seed() as the run did before "
        "Run(...), or give Run(seed=...) its seed.",
    ),
    "next-samples-identical": Advice(
        cause="The sampler, what it draws from, or the data set changed.",
        remedy="Give the loader the run's data set and sampler, set as they were in this epoch.",
    ),
    "other-facts-unchanged": Advice(
        remedy="Give the loader, and `facts=`, as the run had them; new ones are used with "
        'run.resume(accept=["other-facts-unchanged"]) before the loop.',
    ),
}
"""What a program with a loader of its own can do about a finding."""


def order_of(
    order: StepBatches | None,
    data: Any,
    seed: int | None,
    repeats: bool,
    per_step: int | None,
) -> tuple[Order, Batches | None]:
    """Return the order of a run, and where its batches are read; None for step batches.

    Args:
        order: Step batches, for a loop over `run.steps()`.
        data: A loader, for a loop over `run.batches()`; with neither, the loop draws its own.
        seed: The run's; None for the one that torch was seeded with.
        repeats: Whether a batch that is read again must hold the same.
        per_step: Batches of the loader that make a step; None for one.

    Raises:
        RunMisused: Both are given.
        SettingsInvalid: The loader gives no batch, its sampler raises, the seed is none, or the
            batches of a step can't be counted.
    """
    if order is not None:
        if data is not None:
            raise RunMisused(
                "Run(...) was given order= and data=.",
                "Both say which samples a step has.",
                "Give data= for a loop over run.batches(), order= for one over run.steps().",
            )
        return order, None
    of_run = torch.initial_seed() if seed is None else seed
    _require_seed(of_run)
    is_counted = isinstance(data, DataLoader) and not isinstance(data.dataset, IterableDataset)
    _require_per_step(per_step, is_counted=is_counted)
    if data is None:
        drawn = Iterations(of_run)
        return drawn, drawn
    if isinstance(data, OrderedData):
        return data.order_and_batches(of_run, repeats=repeats)
    if is_counted:
        sampled = SampledOrder(data, of_run, per_step or 1)
        epochs = sampled.epochs
        return sampled, SampledBatches(data, epochs, of_run, repeats=repeats, per_step=per_step)
    require_iterable(data)
    stream = Stream(data, of_run, repeats=repeats)
    return stream, stream


def parts_of(batches: Batches | None) -> dict[str, Any]:
    """Return what of the loader is saved and restored, by part name."""
    return {"data": batches} if getattr(batches, "has_state", False) else {}


def policy_of(
    batches: Batches | None,
    may_change: Sequence[str],
    checks: Sequence[Check],
    advice: Mapping[str, Advice] | None,
) -> ResumePolicy:
    """Return how differences are met; with batches there is a check and advice more."""
    if batches is None:
        return ResumePolicy.of(may_change, checks, advice)
    every = [LastBatchIdentical(), *checks]
    later = (LastBatchIdentical.id, NextSamplesIdentical.id)
    return ResumePolicy.of(may_change, every, {**_ADVICE, **(advice or {})}, later)


def keep_lists(order: Order, layout: Layout) -> None:
    """Let an order that can't be derived again keep its lists in the run's directory."""
    epochs = getattr(order, "epochs", None)
    if isinstance(epochs, SampledEpochs) and not epochs.repeats:
        epochs.kept = KeptOrder(layout)


def _require_seed(seed: object) -> None:
    if type(seed) is not int or not 0 <= seed < 2**64:
        raise SettingsInvalid(
            f"Run(seed=) is {seed!r}.",
            "The order and the randomness of each batch derive from 64 bits of it.",
            "Give a whole number from 0 to 2**64 - 1, or none for that of torch.manual_seed().",
        )


def _require_per_step(per_step: object, *, is_counted: bool) -> None:
    if per_step is None or (is_counted and type(per_step) is int and per_step >= 1):
        return
    raise SettingsInvalid(
        f"Run(batches_per_step=) is {per_step!r}"
        + (", and data= has no index." if not is_counted else "."),
        "A step of several batches is resumed at a batch whose number is known.",
        "Give a whole number from 1 with a DataLoader over a data set with an index, or none.",
    )
