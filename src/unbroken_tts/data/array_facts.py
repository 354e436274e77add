"""The facts that the preflight records of each array, and how they are read from its file.

A facts array is a numpy structured array with one row per file: 300,000 rows are compared and
checked in milliseconds, and written to disk as they are.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from unbroken_tts.data.faults import FaultKind
from unbroken_tts.data.npy import ArrayUnusable, check_file, read_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

INT32, FLOAT32 = 1, 2
"""Values of the field `type`; 0 means no facts (never read, or unusable)."""

FACTS = np.dtype(
    [
        ("size", "<i8"),  # bytes of the file
        ("mtime_ns", "<i8"),  # nanoseconds since 1970, of the file's last change
        ("inode", "<u8"),
        ("read_ns", "<i8"),  # nanoseconds since 1970, when the file was opened for reading
        ("type", "u1"),
        ("dimensions", "u1"),  # 1 or 2
        ("rows", "<i8"),  # length of the first axis
        ("columns", "<i8"),  # length of the second axis, 1 where there is none
        ("minimum", "<f8"),  # NaN where the array is empty or contains a NaN
        ("maximum", "<f8"),
        ("first", "<f8"),  # its first value; NaN where it is empty
        ("finite", "u1"),
        ("digest", "u1", (16,)),
    ]
)

READERS = 4
"""Threads of a first pass: one waits for the disk while another computes a digest."""

_FILES_PER_TASK = 64
_COARSE_CLOCK_NS = 2_000_000_000  # FAT stores even seconds
_FINE_CLOCK_NS = 20_000_000  # file times come from the kernel's tick, at most 10 ms long


def array_digest(array: npt.NDArray[Any]) -> bytes:
    """Return the 16-byte xxh3-128 digest of type, shape and C-ordered little-endian content."""
    hasher = xxhash.xxh3_128(f"{array.dtype.str}{array.shape}\n".encode("ascii"))
    hasher.update(array.data)
    return hasher.digest()


def stat_files(paths: Sequence[str]) -> tuple[npt.NDArray[Any], dict[int, ArrayUnusable]]:
    """Return rows with size, mtime and inode only, and the unusable files by index."""
    stamps: list[tuple[int, int, int]] = []
    unusable: dict[int, ArrayUnusable] = {}
    for index, path in enumerate(paths):
        stamp = (-1, 0, 0)
        try:
            status = os.stat(path)  # noqa: PTH116 - 300,000 times
            check_file(status)
            stamp = (status.st_size, status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            unusable[index] = ArrayUnusable(FaultKind.MISSING_FILE, "there is no such file")
        except (OSError, ValueError) as error:
            unusable[index] = ArrayUnusable(FaultKind.UNREADABLE, f"can't be read: {error}")
        except ArrayUnusable as error:
            unusable[index] = error
        stamps.append(stamp)
    facts = np.zeros(len(stamps), dtype=FACTS)
    columns = np.array(stamps, dtype=object).reshape(len(stamps), 3)
    for position, name in enumerate(("size", "mtime_ns", "inode")):
        facts[name] = columns[:, position]
    return facts, unusable


def same_file(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return, row by row, whether size, mtime and inode are equal."""
    return np.asarray(
        (left["size"] == right["size"])
        & (left["mtime_ns"] == right["mtime_ns"])
        & (left["inode"] == right["inode"])
    )


def is_settled(facts: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return, row by row, whether a later change of the file would change its mtime.

    A file that was read within one clock tick of its last write can be written again without a
    new mtime (git calls such an entry racy), so its facts can't be cached.
    """
    is_coarse = facts["mtime_ns"] % 1_000_000_000 == 0
    tick = np.where(is_coarse, _COARSE_CLOCK_NS, _FINE_CLOCK_NS)
    return np.asarray(np.abs(facts["read_ns"] - facts["mtime_ns"]) > tick)


def read_facts(path: str) -> tuple[Any, ...] | ArrayUnusable:
    """Read an array completely; return its row of `FACTS`, or why it can't be used."""
    read_ns = time.time_ns()
    try:
        array, status = read_array(path)
    except ArrayUnusable as error:
        return error
    minimum = maximum = first = float("nan")
    if array.size:
        first = float(array.flat[0])
        minimum, maximum = float(array.min()), float(array.max())
    # NaN makes both NaN, and an infinity is one of the two: no third pass over the array.
    is_finite = not array.size or bool(np.isfinite(minimum) and np.isfinite(maximum))
    return (
        *(status.st_size, status.st_mtime_ns, status.st_ino, read_ns),
        *(INT32 if array.dtype.kind == "i" else FLOAT32, array.ndim),
        *(array.shape[0], array.shape[1] if array.ndim > 1 else 1),
        *(minimum, maximum, first, is_finite),
        np.frombuffer(array_digest(array), dtype=np.uint8),
    )


def read_all(
    paths: Sequence[str],
    indices: Sequence[int],
    facts: npt.NDArray[Any],
    progress: Callable[[int, int], None] | None,
) -> dict[int, ArrayUnusable]:
    """Read the arrays at `indices` of `paths` and fill their rows of `facts`.

    Rows are placed by index, so the result doesn't depend on the timing of the threads. After an
    interruption the rows read so far are filled.

    Returns:
        The unusable files, by index.
    """
    unusable: dict[int, ArrayUnusable] = {}
    tasks = [indices[at : at + _FILES_PER_TASK] for at in range(0, len(indices), _FILES_PER_TASK)]
    done = 0
    executor = ThreadPoolExecutor(READERS)
    try:
        results = executor.map(lambda task: [read_facts(paths[index]) for index in task], tasks)
        for task, rows in zip(tasks, results, strict=True):
            for index, row in zip(task, rows, strict=True):
                if isinstance(row, ArrayUnusable):
                    unusable[index] = row
                    facts[index]["type"] = 0
                else:
                    facts[index] = row
            done += len(task)
            if progress is not None:
                progress(done, len(indices))
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return unusable
