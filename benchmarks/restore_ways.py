"""The ways of restoring that are compared, each from files that its own way of saving wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from save_ways import Distributed, InPlace, Ours, Safetensors, TorchSaveSynced
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load

from unbroken.checkpoint.device_read import drop_from_cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from checkpoint_state import BenchmarkState

    Restore = Callable[[BenchmarkState, Path], None]


def ours(state: BenchmarkState, directory: Path) -> None:
    """`Run.resume`: every file verified, read into the live tensors, which are digested again."""
    run = state.run(directory)
    run.resume("latest")
    run.close()


def torch_load(state: BenchmarkState, directory: Path) -> None:
    """`torch.load`, safe from pickles; nothing is verified."""
    state.take(torch.load(directory / "state.pt", weights_only=True))


def torch_load_mapped(state: BenchmarkState, directory: Path) -> None:
    """`torch.load` of a mapped file; the moments stay in the file until they are read."""
    state.take(torch.load(directory / "state.pt", weights_only=True, mmap=True))


def safetensors_load(state: BenchmarkState, directory: Path) -> None:
    """The safetensors library; nothing is verified."""
    state.take_flat(load_file(directory / "state.safetensors"))


def distributed_load(state: BenchmarkState, directory: Path) -> None:
    """`torch.distributed.checkpoint`, into the live tensors; nothing is verified."""
    load(state.tensors, storage_reader=FileSystemReader(directory), no_dist=True)


RESTORES: dict[str, tuple[type[InPlace | Ours], Restore]] = {
    "unbroken": (Ours, ours),
    "torch.load weights_only": (TorchSaveSynced, torch_load),
    "torch.load mmap": (TorchSaveSynced, torch_load_mapped),
    "safetensors": (Safetensors, safetensors_load),
    "torch dcp": (Distributed, distributed_load),
}


def forget(directory: Path) -> None:
    """Drop the files of a directory from the system's cache."""
    for path in directory.rglob("*"):
        if path.is_file():
            drop_from_cache(path)


def warm_up(directory: Path) -> None:
    """Bring the files of a directory into the system's cache."""
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(8 << 20):
                    pass
