"""The ranks of a run: the processes that `torchrun` starts, each with its share of every batch.

What they agree on goes over process groups of their own on the host (gloo), so that no call here
comes between the collectives of the training, whatever its backend is.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Final, Protocol

import torch
from torch import distributed

from unbroken.errors import RankFailed, SettingsInvalid, UnbrokenError

TIMEOUT_SECONDS: Final = 600.0
"""How long a rank waits for another one, unless the environment says otherwise."""
TIMEOUT_VARIABLE: Final = "UNBROKEN_RANK_TIMEOUT"
"""Name of the variable that says it, in seconds."""
SAVING_SECONDS: Final = 24 * 3600.0
"""The same for the threads that save: others may write for long, and one that ends is noticed anyway."""


class Ranks(Protocol):
    """The processes of a run, as one of them sees them."""

    rank: int
    """Number of this one; 0 is the leader, which writes what the run has once."""
    count: int
    """How many there are."""

    def gather(self, own: Any) -> list[Any]:
        """Return what each rank gave, by rank."""
        ...

    def from_leader(self, own: Any) -> Any:
        """Return what the leader gave."""
        ...

    def numbers(self, own: Sequence[int]) -> list[list[int]]:
        """Return the whole numbers (64 bits, equally many) that each rank gave, by rank."""
        ...

    def beside(self) -> Ranks:
        """Return the same ranks for use by another thread; every rank asks at the same place."""
        ...


class OneProcess:
    """A run that one process trains."""

    rank = 0
    count = 1

    def gather(self, own: Any) -> list[Any]:
        """Return what this process gave."""
        return [own]

    def from_leader(self, own: Any) -> Any:
        """Return what this process gave."""
        return own

    def numbers(self, own: Sequence[int]) -> list[list[int]]:
        """Return the numbers that this process gave."""
        return [list(own)]

    def beside(self) -> OneProcess:
        """Return the same."""
        return self


class ProcessGroup:
    """The ranks of PyTorch's default process group.

    Args:
        timeout: Seconds that a rank waits for the others.

    Raises:
        RankFailed: Not every rank came here in time.
    """

    def __init__(self, timeout: float = TIMEOUT_SECONDS) -> None:
        self.rank = distributed.get_rank()
        self.count = distributed.get_world_size()
        self._timeout = timeout
        with self._in_time("to open the run"):
            self._group = distributed.new_group(
                backend="gloo", timeout=timedelta(seconds=timeout), use_local_synchronization=False
            )

    def gather(self, own: Any) -> list[Any]:
        """Return what each rank gave, by rank.

        Raises:
            RankFailed: One of them ended, or does not answer.
        """
        found: list[Any] = [None] * self.count
        with self._in_time("to tell what it found"):
            distributed.all_gather_object(found, own, group=self._group)
        return found

    def from_leader(self, own: Any) -> Any:
        """Return what the leader gave.

        Raises:
            RankFailed: One of them ended, or does not answer.
        """
        found = [own]
        with self._in_time("to hear what the leader decided"):
            distributed.broadcast_object_list(found, src=0, group=self._group)
        return found[0]

    def numbers(self, own: Sequence[int]) -> list[list[int]]:
        """Return the whole numbers that each rank gave, by rank.

        Raises:
            RankFailed: One of them ended, or does not answer.
        """
        given = torch.tensor(own, dtype=torch.int64)
        found = [torch.empty_like(given) for _ in range(self.count)]
        with self._in_time("at the end of a step"):
            distributed.all_gather(found, given, group=self._group)
        return [each.tolist() for each in found]

    def beside(self) -> ProcessGroup:
        """Return the same ranks for use by another thread; every rank asks at the same place."""
        return ProcessGroup(SAVING_SECONDS)

    @contextmanager
    def _in_time(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except (RuntimeError, ValueError) as error:
            is_late = time.monotonic() - began > 0.9 * self._timeout
            if is_late:
                with suppress(OSError, ValueError, AttributeError):  # no file behind it
                    faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr)
            raise RankFailed(
                f"Rank {self.rank} of {self.count} waited {what}, and another rank "
                + (f"did not answer within {self._timeout:g} s." if is_late else "ended."),
                "The ranks of a run make each step together; nothing newer was saved, the last "
                "checkpoint is untouched.",
                "Look for the rank that failed first, and start all of them again: torchrun "
                "--max-restarts does so by itself.",
            ) from error


def ranks_here() -> Ranks:
    """Return the processes that train together with this one, by PyTorch's default process group.

    Raises:
        RankFailed: Not every rank came here in time.
        SettingsInvalid: The environment says no time that one waits for the others.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return OneProcess()
    return ProcessGroup(_timeout()) if distributed.get_world_size() > 1 else OneProcess()


def _timeout() -> float:
    told = os.environ.get(TIMEOUT_VARIABLE, str(TIMEOUT_SECONDS))
    try:
        seconds = float(told)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise SettingsInvalid(
            f"{TIMEOUT_VARIABLE} is {told!r}.",
            "It says how many seconds a rank waits for another one before it counts as hung.",
            "Give a number of seconds, such as 3600, or remove the variable.",
        )
    return seconds


@contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Let every rank go on, or none: what fails on one ends the others too.

    Raises:
        RankFailed: Another rank failed.
    """
    if ranks.count == 1:
        yield
        return
    try:
        yield
    except Exception as error:
        ranks.gather(_told(error))
        raise
    told = ranks.gather(None)
    failed = {rank: each for rank, each in enumerate(told) if each is not None}
    if failed:
        raise _of_others(failed)


def _told(failure: Exception) -> tuple[str, int]:
    if isinstance(failure, UnbrokenError):
        return failure.what, failure.exit_code
    return f"{type(failure).__name__}: {failure}", RankFailed.exit_code


def _of_others(failed: dict[int, tuple[str, int]]) -> RankFailed:
    rank, (what, exit_code) = next(iter(failed.items()))
    others = f" (ranks {', '.join(map(str, failed))} failed)" if len(failed) > 1 else ""
    error = RankFailed(
        f"Rank {rank} could not go on{others}: {what}",
        "The ranks of a run go on together or not at all. Nothing was trained.",
        f"Do what rank {rank} says, and start all of them again.",
    )
    error.exit_code = exit_code
    return error
