"""The trainer as `torchrun` starts it: some processes, each told which one it is.

ranked_trainer.main RANK COUNT PORT EVENT -- FLAGS…, with the events of `killed_trainer`
"""

from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

from support import killed_trainer, preloaded
from support.tiny_trainer import TinyTrainer, environment


def train(
    trainer: TinyTrainer, count: int, output: Path, *more: str, event: str = "none", on: int = 0
) -> list[CompletedProcess[str]]:
    """Start the ranks of a training, of which one is killed at an event; return them by rank."""
    flags = trainer.flags(output, "--resume", "auto", *more)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    every = [
        [str(rank), str(count), port, event if rank == on else "none", "--", *flags]
        for rank in range(count)
    ]
    start = partial(preloaded.run, "support.ranked_trainer", environment=environment())
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(start, every))


def main() -> int:
    """Train as one rank."""
    rank, count, port, *words = sys.argv[1:]
    os.environ |= {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    sys.argv[1:] = words
    return killed_trainer.main()
