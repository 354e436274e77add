"""The ways of saving that are compared: ours, and those that a training usually has.

Each writes the same live state into a directory of its own. What it wrote before is deleted outside of
what is measured, except that ours deletes by itself, after the checkpoint stands.
"""

from __future__ import annotations

import os
import shutil
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from earlier_save import write_twice
from safetensors.torch import save_file
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from unbroken.checkpoint.saver import Saver

if TYPE_CHECKING:
    from checkpoint_state import BenchmarkState


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveTimes:
    """One save."""

    stall: float
    """Seconds that the calling thread was held."""
    total: float
    """Seconds until the save was as durable as this way makes it."""
    cpu: float
    """Processor seconds of all threads, user and system."""


class SaveWay(Protocol):
    """A way of saving."""

    name: ClassVar[str]

    def save(self) -> None:
        """Write the state; return when the calling thread may go on."""
        ...

    def done_at(self) -> float:
        """Wait until the last save is as durable as it gets; return when that was."""
        ...

    def close(self) -> None:
        """Give up what it holds."""
        ...


LOOKED_AT = 3
"""Steps at a start in which the self-audit looks at the state; it looks at no later one."""


class Ours:
    """A checkpoint of this library: one snapshot, the rest in the background, read back at the end."""

    name: ClassVar[str] = "unbroken"

    def __init__(self, state: BenchmarkState, directory: Path) -> None:
        self.run = state.run(directory)
        self.run.resume("")
        self.saver = Saver(
            self.run.layout,
            self.run.run_id,
            keep=1,
            best_by=None,
            after_commit=lambda _place: self._note(),
        )
        self._done = 0.0
        for _ in range(LOOKED_AT):
            self._step()

    def _note(self) -> None:
        self._done = time.perf_counter()

    def _step(self) -> None:
        self.run.begin_step()
        self.run.micro_batch_done(1)
        self.run.end_step({"loss": 0.0})

    def save(self) -> None:
        """Complete a step and take the snapshot."""
        self._step()
        run = self.run
        self.saver.save(run.inspector.snapshot(run.layout, run.run_id, 1, {}))

    def done_at(self) -> float:
        """Return when the checkpoint was whole, verified and visible."""
        self.saver.finish()
        return self._done

    def is_done(self) -> bool:
        """Say whether the last save is complete, without waiting."""
        return self.saver.look() is not None

    def held(self) -> float:
        """Return the seconds that the last save held the training, in its call and at the fence."""
        return self.saver.held_seconds

    def close(self) -> None:
        """End the background and give up the directory."""
        self.saver.close()
        self.run.close()


class Overlapped(Ours):
    """The same, with parameters and moments copied beside the forward pass where a core is left over.

    The training that goes on beside it waits before each update as if the state were its own.
    """

    name: ClassVar[str] = "unbroken, overlap"

    def beside(self, optimizer: torch.optim.Optimizer) -> None:
        """Put the fence before the updates of the training that goes on meanwhile."""
        self.saver.overlap([optimizer])


class InPlace(ABC):
    """A way that holds the thread until it is done."""

    name: ClassVar[str]

    def __init__(self, state: BenchmarkState, directory: Path) -> None:
        self.state, self.directory = state, directory
        self._number = 0

    def save(self) -> None:
        """Write the state, and return when that is done."""
        self._number += 1
        self.write(self.directory)

    @abstractmethod
    def write(self, directory: Path) -> None:
        """Write the state."""

    def done_at(self) -> float:
        """Return the present moment."""
        return time.perf_counter()

    def close(self) -> None:  # noqa: B027  # nothing is held open by any of them
        """Hold nothing."""


class TorchSave(InPlace):
    """`torch.save`, as most trainings call it: nothing is sure to be on the disk."""

    name: ClassVar[str] = "torch.save"

    def write(self, directory: Path) -> None:
        """Write the state."""
        torch.save(self.state.documents(), directory / "state.pt")


class TorchSaveSynced(InPlace):
    """`torch.save`, and its file fsynced."""

    name: ClassVar[str] = "torch.save + fsync"

    def write(self, directory: Path) -> None:
        """Write the state."""
        with (directory / "state.pt").open("wb") as file:
            torch.save(self.state.documents(), file)
            file.flush()
            os.fsync(file.fileno())


class EarlierTwoSaves(InPlace):
    """The earlier trainer: two files, one of them fsynced."""

    name: ClassVar[str] = "earlier trainer's two"

    def write(self, directory: Path) -> None:
        """Write the state."""
        write_twice(self.state.documents(), directory, self._number)


class Safetensors(InPlace):
    """The safetensors library, and its file fsynced; no digests."""

    name: ClassVar[str] = "safetensors + fsync"

    def write(self, directory: Path) -> None:
        """Write the state."""
        save_file(self.state.tensors, directory / "state.safetensors")
        _sync(directory / "state.safetensors")


class Distributed(InPlace):
    """`torch.distributed.checkpoint` in one process, with its own fsync."""

    name: ClassVar[str] = "torch dcp, synced"

    def write(self, directory: Path) -> None:
        """Write the state."""
        writer = FileSystemWriter(directory, sync_files=True, overwrite=True)
        save(self.state.tensors, storage_writer=writer, no_dist=True)


OTHERS: tuple[type[InPlace], ...] = (
    TorchSave, TorchSaveSynced, EarlierTwoSaves, Safetensors, Distributed
)  # fmt: skip


def measured(way: SaveWay) -> SaveTimes:
    """Save once and say what it took."""
    began, cpu = time.perf_counter(), time.process_time()
    way.save()
    stall = time.perf_counter() - began
    total = way.done_at() - began
    return SaveTimes(stall=stall, total=total, cpu=time.process_time() - cpu)


def clear(directory: Path) -> None:
    """Make the directory empty, and let nothing of it still be on its way to the disk."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()


def settle() -> None:
    """Bring to the disk what others left behind, so that the next one doesn't pay for it."""
    if hasattr(os, "sync"):
        os.sync()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
