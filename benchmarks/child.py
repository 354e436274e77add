"""One way of training in a process of its own, which does what it is told and is measured."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Self

from workload import SaveTimes, Way, Workload

WayName = Literal["earlier", "present"]
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What some steps took."""

    tokens: int
    """Targets: tokens, codes and stops, no padding."""
    wall: float
    """Seconds."""
    cpu: float
    """Processor seconds of all threads, user and system."""


class Child:
    """A process that trains one way; a context manager."""

    def __init__(self, name: WayName, work: Workload, directory: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(name, work, directory, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(30)
        self._process.kill()

    def ask(self, what: Literal["train", "save", "memory"], argument: int = 0) -> Any:
        """Have something done; return what came of it: a `Round`, `SaveTimes` or MiB."""
        self._pipe.send((what, argument))
        return self._pipe.recv()


def _serve(name: WayName, work: Workload, directory: Path, pipe: Connection) -> None:
    import torch

    torch.set_num_threads(work.threads)
    way, before = _begin(name, work, directory)
    while True:
        try:
            what, argument = pipe.recv()
        except EOFError:
            return
        if what == "train":
            pipe.send(_train(way, argument))
        elif what == "memory":
            pipe.send(peak_mib() - before)
        else:
            times: SaveTimes = way.save()
            pipe.send(times)


def _begin(name: WayName, work: Workload, directory: Path) -> tuple[Way, float]:
    import psutil
    import transformers.models.gpt2.modeling_gpt2  # noqa: F401  no part of the growth
    from earlier_way import EarlierWay
    from present_way import PresentWay

    before = psutil.Process().memory_info().rss / MIB
    kind: type[EarlierWay | PresentWay] = EarlierWay if name == "earlier" else PresentWay
    return kind(work, directory), before


def _train(way: Way, steps: int) -> Round:
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = way.train(steps)
    return Round(tokens=tokens, wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def peak_mib() -> float:
    """Return the most memory this process ever held, in MiB."""
    import psutil

    info = psutil.Process().memory_info()._asdict()
    if "peak_wset" in info:  # Windows
        return float(info["peak_wset"]) / MIB
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB  # macOS counts bytes
