"""The first call of an operation, compared with the second, in hundreds of fresh processes.

A fresh process is one forked from a parent that has imported torch and computed nothing. Each
makes one operation twice on the same input, with other processes keeping the cores busy. Where a
first call differs from the second, or from those of most processes, the operation does not repeat
itself on this machine.

    python benchmarks/first_calls.py                         # hours; each row says how long is left
    python benchmarks/first_calls.py --only log attention    # some of the operations
    python benchmarks/first_calls.py --prepared              # after the first calls of `unbroken`

It needs `os.fork`: Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
import xxhash
from first_call_operations import OPERATIONS, Operation

BURN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
"""Keeps a core busy for as long as the process that started it lives."""
RESULT = struct.Struct("<qd16s")
"""What a child sends: entries that differ, the largest difference, digest of the first result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One operation at one number of threads."""

    operation: str
    dtype: str
    threads: int
    processes: int
    unlike_second: int
    """Processes whose first call differs from their second."""
    unlike_most: int
    """Processes whose first call differs from that of most."""
    largest: float
    """The largest difference between a first and a second call."""

    def __str__(self) -> str:
        """Return the row of the table."""
        return (
            f"{self.operation:<22} {self.dtype:<9} {self.threads:>7} {self.processes:>9} "
            f"{self.unlike_second:>13} {self.unlike_most:>12} {self.largest:>10.1e}"
        )


HEAD = (
    f"{'operation':<22} {'dtype':<9} {'threads':>7} {'processes':>9} {'first!=second':>13} "
    f"{'unlike most':>12} {'largest':>10}"
)


def in_fresh_process(
    operation: Operation, dtype: torch.dtype, threads: int, *, prepared: bool
) -> bytes:
    """Call the operation twice in a child; return what it sends."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, _first_and_second(operation, dtype, threads, prepared=prepared))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        sent = pipe.read()
    os.waitpid(child, 0)
    if len(sent) != RESULT.size:
        raise RuntimeError(f"{operation.__name__} in {dtype} ended without a result")
    return sent


def _first_and_second(
    operation: Operation, dtype: torch.dtype, threads: int, *, prepared: bool
) -> bytes:
    torch.set_num_threads(threads)
    torch.mm(torch.ones(512, 512), torch.ones(512, 512))  # as before in every model; wakes threads
    if prepared:
        from unbroken.first_calls import make_first_calls  # importing it makes them

        make_first_calls()
    first, second = operation(dtype), operation(dtype)
    differences = [
        (a.detach().double() - b.detach().double()).abs().nan_to_num()
        for a, b in zip(first, second, strict=True)
    ]
    digest = xxhash.xxh3_128()
    for each in first:
        digest.update(each.detach().contiguous().view(torch.uint8).numpy().data)
    unlike = sum(int((each != 0).sum()) for each in differences)
    return RESULT.pack(unlike, max(float(each.max()) for each in differences), digest.digest())


def row(name: str, dtype: str, threads: int, processes: int, *, prepared: bool) -> Row:
    """Measure one row."""
    sent = [
        RESULT.unpack(
            in_fresh_process(OPERATIONS[name], getattr(torch, dtype), threads, prepared=prepared)
        )
        for _ in range(processes)
    ]
    most = Counter(digest for _, _, digest in sent).most_common(1)[0][1]
    return Row(
        operation=name,
        dtype=dtype,
        threads=threads,
        processes=processes,
        unlike_second=sum(unlike > 0 for unlike, _, _ in sent),
        unlike_most=processes - most,
        largest=max(largest for _, largest, _ in sent),
    )


@contextmanager
def busy_cores(burners: int) -> Iterator[None]:
    """Keep cores busy with so many processes for as long as a block runs."""
    burning = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(burners)]
    try:
        yield
    finally:
        for each in burning:
            each.kill()
            each.wait()


def cost_milliseconds() -> float:
    """Return how long the library's first calls take in a fresh process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            from unbroken.first_calls import make_first_calls

            began = time.perf_counter()
            make_first_calls.__wrapped__()
            os.write(writing, struct.pack("<d", time.perf_counter() - began))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        (seconds,) = struct.unpack("<d", pipe.read())
    os.waitpid(child, 0)
    return 1000 * float(seconds)


def parsed() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--processes", type=int, default=300, help="fresh processes for each row")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--burners", type=int, default=3, help="processes that keep the cores busy")
    parser.add_argument("--only", nargs="+", choices=sorted(OPERATIONS), default=sorted(OPERATIONS))
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument(
        "--prepared", action="store_true", help="make the library's first calls first"
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser.parse_args()


def main() -> int:
    """Print a row for each operation, dtype and number of threads; 1 where one did not repeat."""
    asked = parsed()
    torch.set_num_threads(1)  # a child can't use threads that were started before it was forked
    print(
        f"torch {torch.__version__}, numpy {np.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, "
        f"{asked.burners} burners, prepared: {asked.prepared}"
    )
    print(HEAD, flush=True)
    rows = []
    wanted = list(product(asked.only, asked.dtypes, asked.threads))
    began = time.monotonic()
    with busy_cores(asked.burners):
        for done, (name, dtype, threads) in enumerate(wanted, start=1):
            rows.append(row(name, dtype, threads, asked.processes, prepared=asked.prepared))
            left = (time.monotonic() - began) / done * (len(wanted) - done)
            print(f"{rows[-1]}   {left / 60:.0f} min left", flush=True)
    cost = cost_milliseconds()
    print(f"The library's first calls take {cost:.1f} ms.")
    if asked.json:
        content = {"rows": [asdict(each) for each in rows], "first_calls_milliseconds": cost}
        asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return int(any(each.unlike_second or each.unlike_most for each in rows))


if __name__ == "__main__":
    sys.exit(main())
