"""The processes that torchrun started for one training: joined at its start, left at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from unbroken import SettingsInvalid
from unbroken_tts.settings import TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Which of how many processes this one is."""

    rank: int
    """Its number; 0 prints for all."""
    count: int
    local_rank: int
    """Its number on this machine."""

    def device(self, asked: str) -> str:
        """Return the device that this process trains on: on a machine each has a GPU of its own.

        Args:
            asked: The setting; one that names a GPU by number is kept.
        """
        import torch  # noqa: PLC0415 -- `--help` answers without it

        is_free = asked in {"auto", "cuda"} and torch.cuda.is_available()
        return f"cuda:{self.local_rank}" if self.count > 1 and is_free else asked


ALONE: Final = Processes(rank=0, count=1, local_rank=0)


def started_by_torchrun() -> Processes:
    """Return what torchrun says of this process; without torchrun it is alone.

    Raises:
        SettingsInvalid: The variables that it sets are not whole numbers.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    told = [os.environ.get(name, "") for name in names]
    if not told[1] or told[1] == "1":
        return ALONE
    try:
        rank, count, local_rank = (int(each) for each in told)
    except ValueError as error:
        raise SettingsInvalid(
            f"The environment says {', '.join(f'{n}={v!r}' for n, v in zip(names, told, strict=True))}.",
            "WORLD_SIZE says that several processes train, and the others have to say which one this is.",
            "Start the training with torchrun, or remove WORLD_SIZE from the environment.",
        ) from error
    return Processes(rank=rank, count=count, local_rank=local_rank)


@contextmanager
def joined(processes: Processes, settings: TrainSettings) -> Iterator[None]:
    """Join the other processes while the block runs.

    Raises:
        SettingsInvalid: The settings need a single process.
    """
    if processes.count == 1:
        yield
        return
    if settings.loss_weighting == "legacy":
        raise SettingsInvalid(
            f"--loss-weighting legacy was given, and {processes.count} processes train.",
            "The earlier trainer's weighting depends on how a step is cut into micro-batches, and each "
            "process has a share of its own.",
            "Use --loss-weighting tokens, or start one process.",
        )
    import torch  # noqa: PLC0415 -- `--help` answers without it
    from torch import distributed  # noqa: PLC0415 -- likewise

    device = processes.device(settings.device)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
