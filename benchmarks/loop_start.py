"""What a protected loop adds at its start, and in memory; each training in a process of its own."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import psutil
import torch
from resident_memory import Growth

Given = ParamSpec("Given")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a training began."""

    import_seconds: float
    """Of the library, which is loaded when `unbroken.Run` is first asked for."""
    seconds: float
    """From where the loop begins, with `unbroken` from `Run(...)`, to the first batch."""
    loop_bytes: float
    """Growth of the resident memory at its peak, in the loop, without a save."""
    saved_bytes: float
    """The same, with a save."""


def in_new_process(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    """Call a function in a fresh process of one thread of torch; return what it returned."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, torch.set_num_threads, (1,)) as pool:
        return pool.submit(function, *given, **named).result()


def started(
    load: Callable[[], object],
    loop: Callable[[], Iterator[None]],
    save: Callable[[], None],
    batches: int,
) -> Start:
    """Measure a training whose loader, model and optimizer are there.

    Args:
        load: Imports what the loop needs.
        loop: Begins the training; yields at the first batch, and after each that is trained.
        save: Saves it, and waits until that is done.
        batches: How many are trained before and after the save.
    """
    before = _resident()
    with Growth() as at_first:
        began = time.perf_counter()
        load()
        imported = time.perf_counter() - began
        began = time.perf_counter()
        training = loop()
        next(training)
        seconds = time.perf_counter() - began
        for _ in range(batches):
            next(training)
    between = _resident() - before
    with Growth() as with_save:
        save()
        for _ in range(batches):
            next(training)
    saved = max(at_first.bytes, between + with_save.bytes)
    return Start(
        import_seconds=imported, seconds=seconds, loop_bytes=at_first.bytes, saved_bytes=saved
    )


def _resident() -> int:
    rss: int = psutil.Process().memory_info().rss
    return rss


def start_table(
    rows: list[tuple[str, int]],
    measure: Callable[[str, int, Path | None, int], Start],
    batches: int,
) -> Iterator[str]:
    """Yield the lines of the table.

    Args:
        rows: Kind of data set and number of workers.
        measure: Measures one training; with a directory, with `unbroken`.
        batches: How many are trained before and after a save.
    """
    yield (
        "| data set | workers | first batch, s | with `unbroken` | import, s | memory added, MiB | "
        "with a save |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for kind, workers in rows:
        with tempfile.TemporaryDirectory() as place:
            plain = in_new_process(measure, kind, workers, None, batches)
            ours = in_new_process(measure, kind, workers, Path(place, "run"), batches)
        loop = (ours.loop_bytes - plain.loop_bytes) / (1 << 20)
        saved = (ours.saved_bytes - plain.loop_bytes) / (1 << 20)
        yield (
            f"| {kind} | {workers} | {plain.seconds:.3f} | {ours.seconds:.3f} | "
            f"{ours.import_seconds:.2f} | {loop:+.0f} | "
            f"{saved:+.0f} |"
        )
