"""The calls that change the disk: recorded, or made to fail.

```python
with recorded(directory) as record:
    run.save()
for call in record.calls:
    print(call)
```
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from unbroken.checkpoint import disk
from unbroken.checkpoint.system import Bytes, System

Kind = Literal[
    "mkdir", "create", "open", "write", "truncate", "sync", "sync directory", "rename", "unlink",
    "rmdir", "mark",
]  # fmt: skip
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that changes the disk, or (`open`, `mark`) one that gives the others their meaning."""

    kind: Kind
    path: Path
    """What is changed; for an open file the name it was opened by."""
    target: Path | None = None
    """The new name, of a rename."""
    handle: int = -1
    """Which opening of a file this belongs to; another number for each."""
    data: bytes = b""
    """What was written; the text of a mark."""
    size: int = 0
    """Bytes that a truncation leaves."""

    def __str__(self) -> str:
        """Say it in one line."""
        more = f" to {self.target}" if self.target is not None else ""
        more += f" ({len(self.data)} bytes)" if self.kind == "write" else ""
        return f"{self.kind} {self.path}{more}"


class WatchedSystem(System):
    """Hands every call to `around`, with what it is; what it does not hand on does not happen."""

    def __init__(self) -> None:
        self._turn = threading.RLock()
        self._handles: dict[int, tuple[int, Path]] = {}
        self._opened = 0

    def around(self, call: Call, perform: Callable[[], T]) -> T:
        """Make the call; to be overridden. One call is made at a time."""
        del call
        return perform()

    def _do(self, call: Call, perform: Callable[[], T]) -> T:
        with self._turn:
            return self.around(call, perform)

    def _open(self, kind: Literal["create", "open"], path: Path, do: Callable[[], int]) -> int:
        with self._turn:
            self._opened += 1
            handle = self._opened
            descriptor = self.around(Call(kind=kind, path=path, handle=handle), do)
            self._handles[descriptor] = (handle, path)
            return descriptor

    def _of(self, descriptor: int) -> tuple[int, Path]:
        return self._handles.get(descriptor, (-1, Path(os.devnull)))

    def make_directory(self, path: Path) -> None:
        """Hand on."""
        make = super().make_directory
        self._do(Call(kind="mkdir", path=path), lambda: make(path))

    def create(self, path: Path, *, direct: bool = False) -> int:
        """Hand on."""
        create = super().create
        return self._open("create", path, lambda: create(path, direct=direct))

    def open_to_append(self, path: Path) -> int:
        """Hand on."""
        open_it = super().open_to_append
        return self._open("open", path, lambda: open_it(path))

    def write(self, descriptor: int, data: Bytes) -> int:
        """Hand on."""
        write, (handle, path) = super().write, self._of(descriptor)
        call = Call(kind="write", path=path, handle=handle, data=bytes(data))
        return self._do(call, lambda: write(descriptor, data))

    def truncate(self, descriptor: int, size: int) -> None:
        """Hand on."""
        truncate, (handle, path) = super().truncate, self._of(descriptor)
        call = Call(kind="truncate", path=path, handle=handle, size=size)
        self._do(call, lambda: truncate(descriptor, size))

    def sync(self, descriptor: int) -> None:
        """Hand on."""
        sync, (handle, path) = super().sync, self._of(descriptor)
        self._do(Call(kind="sync", path=path, handle=handle), lambda: sync(descriptor))

    def close(self, descriptor: int) -> None:
        """Close; it changes nothing, so it is not handed on."""
        with self._turn:
            self._handles.pop(descriptor, None)
            super().close(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Hand on."""
        sync = super().sync_directory
        self._do(Call(kind="sync directory", path=path), lambda: sync(path))

    def rename(self, source: Path, target: Path) -> None:
        """Hand on."""
        rename = super().rename
        self._do(Call(kind="rename", path=source, target=target), lambda: rename(source, target))

    def unlink(self, path: Path) -> None:
        """Hand on."""
        unlink = super().unlink
        self._do(Call(kind="unlink", path=path), lambda: unlink(path))

    def remove_directory(self, path: Path) -> None:
        """Hand on."""
        remove = super().remove_directory
        self._do(Call(kind="rmdir", path=path), lambda: remove(path))


class DiskRecord(WatchedSystem):
    """Every call that was made below one directory, in order.

    Args:
        root: The directory; it exists, and its own name is not part of the record.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root.absolute()
        self.calls: list[Call] = []

    def around(self, call: Call, perform: Callable[[], T]) -> T:
        """Make the call and note it if it was made."""
        done = perform()
        if call.path.absolute().is_relative_to(self.root):
            data = call.data[:done] if call.kind == "write" and isinstance(done, int) else call.data
            self.calls.append(
                Call(
                    kind=call.kind,
                    path=self._inside(call.path),
                    target=None if call.target is None else self._inside(call.target),
                    handle=call.handle,
                    data=data,
                    size=call.size,
                )
            )
        return done

    def _inside(self, path: Path) -> Path:
        return path.absolute().relative_to(self.root)

    def mark(self, text: str) -> None:
        """Note that something happened between two calls, such as a save that is complete."""
        with self._turn:
            self.calls.append(Call(kind="mark", path=Path(), data=text.encode()))


class FaultyDisk(WatchedSystem):
    """A disk that fails at chosen calls.

    Args:
        fault: The number of an error (`errno.ENOSPC`) for a call that is to fail, given the call
            and how many came before it; None for one that isn't.
    """

    def __init__(self, fault: Callable[[Call, int], int | None]) -> None:
        super().__init__()
        self.fault = fault
        self.seen = 0
        """Calls so far."""
        self.failed: list[Call] = []

    def around(self, call: Call, perform: Callable[[], T]) -> T:
        """Make the call or fail."""
        number = self.fault(call, self.seen)
        self.seen += 1
        if number is None:
            return perform()
        self.failed.append(call)
        raise OSError(number, os.strerror(number), str(call.path))


@contextmanager
def using(system: System) -> Iterator[None]:
    """Let a system make all calls of this process meanwhile."""
    before, disk.system = disk.system, system
    try:
        yield
    finally:
        disk.system = before


@contextmanager
def recorded(root: Path) -> Iterator[DiskRecord]:
    """Record the calls below a directory meanwhile."""
    record = DiskRecord(root)
    with using(record):
        yield record
