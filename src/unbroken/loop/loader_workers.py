"""Worker processes of a loader leave a stop to the training that they read for.

A scheduler and Ctrl+C signal the whole process group. Workers that died of it would take the
training down before it has saved. So a worker lets the first signal pass; the second one ends it, as
it ends the training. A program that leaves while a loader still lives ends its workers by force.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Collection
from multiprocessing.util import Finalize, register_after_fork
from typing import Final, Protocol

from unbroken.loop.signals import SIGNALS

OF_SCHEDULERS: Final = tuple(
    number for name in ("SIGUSR2",) if (number := getattr(signal, name, None)) is not None
)
"""Signals that SGE and submitit ask by; a run listens to them where it is told to."""

WORKERS_OF: Final = "torch.utils.data"
"""Where the function lives that a loader's worker runs."""

_held_back: set[int] = set()
"""What this process, a worker, lets pass already."""


class Listener(Protocol):
    """Has the signals that ask for a stop."""

    signals: tuple[signal.Signals, ...]


def ignore_stop_signals(worker: int = 0) -> None:
    """Let a stop pass in a worker process; the training process saves. A second signal ends it.

    Give it to a loader whose workers are spawned: `DataLoader(..., worker_init_fn=
    unbroken.ignore_stop_signals)`. Workers that are forked while there is a `Run` have it already.

    Args:
        worker: Number of the worker; not used.
    """
    del worker
    _hold_back((*SIGNALS, *OF_SCHEDULERS))


def shield_workers(listener: Listener) -> None:
    """Let the loader workers that are forked from now on leave the listener's signals to it."""
    register_after_fork(listener, _shield_if_worker)


def _shield_if_worker(listener: Listener) -> None:
    target = getattr(multiprocessing.current_process(), "_target", None)
    if (getattr(target, "__module__", None) or "").startswith(WORKERS_OF):
        _hold_back(listener.signals)


def _end_workers() -> None:
    """End the workers that are still there when the program leaves.

    Python ends daemonic processes with one SIGTERM and waits for them, for ever if they let it pass.
    """
    for seconds in (0.5, 5.0):
        workers = [each for each in multiprocessing.active_children() if each.daemon]
        for each in workers:
            each.terminate()
        for each in workers:
            # PyTorch's own handler tells, in the midst of this, that a worker has ended.
            with contextlib.suppress(RuntimeError):
                each.join(seconds)
    for each in multiprocessing.active_children():
        if each.daemon:
            each.kill()


# After the pools have ended theirs, and before Python waits for the rest.
Finalize(None, _end_workers, exitpriority=0)


def _hold_back(numbers: Collection[int]) -> None:
    """Let the first of these signals pass; what was ignored before stays ignored."""
    new = {each for each in numbers if signal.getsignal(each) is not signal.SIG_IGN} - _held_back
    if not new:
        return
    if not hasattr(signal, "pthread_sigmask"):  # only Ctrl+C reaches other processes there
        for each in new:
            signal.signal(each, signal.SIG_IGN)
        return
    # A thread waits for them: PyTorch puts a handler of its own over SIGTERM in each worker.
    signal.pthread_sigmask(signal.SIG_BLOCK, new)
    is_first = not _held_back
    _held_back.update(new)
    if is_first:
        threading.Thread(target=_end_at_second, daemon=True, name="stop signals").start()


def _end_at_second() -> None:
    signal.sigwait(set(_held_back))
    os._exit(128 + signal.sigwait(set(_held_back)))
