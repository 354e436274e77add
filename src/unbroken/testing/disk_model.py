"""A disk as the system sees it, and what of it is durable."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from unbroken.testing.disk_calls import Call

PAGE = 4096
RANDOM_CUTS = 2
"""Lengths drawn at random for each file that isn't synced."""

Tree = dict[str, bytes | None]
"""What lies below a directory, by path with slashes: a file's bytes, or None for a directory."""


@dataclass(eq=False, slots=True)
class File:
    """A file: what was written to it, and what of that was synced."""

    content: bytes = b""
    synced: bytes | None = None
    """None before the first fsync."""

    def damages(self, draw: random.Random) -> list[tuple[str, bytes | None]]:
        """Return what else the file may hold after a crash; None for absent."""
        kept = self.synced or b""
        if self.synced == self.content:
            return []
        if not self.content.startswith(kept):
            return [("as before", kept)]
        absent: list[tuple[str, bytes | None]] = [("absent", None)] if self.synced is None else []
        size, first = len(self.content), len(kept)
        if size == first:
            return absent
        pages = [at for at in range(0, size, PAGE) if at + PAGE > first]
        cuts = [at for at in pages if at > first]
        cuts += [draw.randrange(first + 1, size) for _ in range(RANDOM_CUTS) if size > first + 1]
        zeros = [(max(at, first), min(at + PAGE, size)) for at in pages]
        return [
            *absent,
            ("without its new bytes", kept),
            ("zeroed", kept + bytes(size - first)),
            *((f"cut at {at}", self.content[:at]) for at in cuts),
            *(
                (f"a zeroed page at {a}", self.content[:a] + bytes(b - a) + self.content[b:])
                for a, b in zeros
                if len(zeros) > 1
            ),
        ]


@dataclass(eq=False, slots=True)
class DiskChange:
    """One change of names in one directory that may not have arrived."""

    text: str
    effect: dict[str, File | Directory | None]
    after: DiskChange | None = None
    """A change that must have arrived if this one has: the new name of what goes here."""


@dataclass(eq=False, slots=True)
class Directory:
    """A directory: its durable names, and the changes of them that are not."""

    synced: dict[str, File | Directory] = field(default_factory=dict)
    pending: list[DiskChange] = field(default_factory=list)

    def entries(self, lost: set[DiskChange]) -> dict[str, File | Directory]:
        """Return the names that are there if these changes did not arrive."""
        found = dict(self.synced)
        for change in self.pending:
            if change in lost or (change.after is not None and change.after in lost):
                continue
            for name, node in change.effect.items():
                if node is None:
                    found.pop(name, None)
                else:
                    found[name] = node
        return found

    def sync(self) -> None:
        """Make all names durable."""
        self.synced = self.entries(set())
        for change in self.pending:
            change.after = None
        self.pending = []


class Disk:
    """The disk as the system sees it, and what of it is durable."""

    def __init__(self, start: Mapping[str, bytes | None]) -> None:
        self.root = Directory()
        self._open: dict[int, File] = {}
        for path, content in sorted(start.items()):
            parent, name = self._parent(PurePosixPath(path))
            parent.synced[name] = Directory() if content is None else File(content, content)

    def _parent(self, path: PurePosixPath) -> tuple[Directory, str]:
        here: File | Directory = self.root
        for part in path.parts[:-1]:
            here = self._directory(here).entries(set())[part]
        return self._directory(here), path.name

    @staticmethod
    def _directory(node: File | Directory) -> Directory:
        assert isinstance(node, Directory)
        return node

    def apply(self, call: Call) -> None:
        """Make a call."""
        path = PurePosixPath(call.path.as_posix())
        if call.kind in ("write", "truncate", "sync"):
            self._apply_to_file(call)
        elif call.kind == "rename":
            assert call.target is not None
            self._rename(path, PurePosixPath(call.target.as_posix()), str(call))
        elif call.kind == "sync directory":
            parent, name = self._parent(path)
            (self._directory(parent.entries(set())[name]) if name else parent).sync()
        elif call.kind == "open":
            parent, name = self._parent(path)
            found = parent.entries(set())[name]
            assert isinstance(found, File)
            self._open[call.handle] = found
        elif call.kind != "mark":
            self._name(call, path)

    def _name(self, call: Call, path: PurePosixPath) -> None:
        parent, name = self._parent(path)
        node: File | Directory | None = None
        if call.kind == "create":
            node = self._open[call.handle] = File()
        elif call.kind == "mkdir":
            node = Directory()
        parent.pending.append(DiskChange(str(call), {name: node}))

    def _apply_to_file(self, call: Call) -> None:
        file = self._open[call.handle]
        if call.kind == "write":
            file.content += call.data
        elif call.kind == "truncate":
            file.content = file.content[: call.size]
        else:
            file.synced = file.content

    def _rename(self, source: PurePosixPath, target: PurePosixPath, text: str) -> None:
        (old, old_name), (new, new_name) = self._parent(source), self._parent(target)
        node = old.entries(set())[old_name]
        if old is new:
            old.pending.append(DiskChange(text, {old_name: None, new_name: node}))
            return
        arrival = DiskChange(f"new name of: {text}", {new_name: node})
        new.pending.append(arrival)
        old.pending.append(DiskChange(f"old name of: {text}", {old_name: None}, after=arrival))

    def nodes(self) -> list[tuple[str, File | Directory]]:
        """Return all that may be reachable after a crash, with a path of each."""
        found: dict[int, tuple[str, File | Directory]] = {}
        waiting: list[tuple[str, File | Directory]] = [("", self.root)]
        while waiting:
            path, node = waiting.pop()
            if id(node) in found:
                continue
            found[id(node)] = (path, node)
            if isinstance(node, Directory):
                names: list[tuple[str, File | Directory | None]] = [*node.synced.items()]
                names += [item for each in node.pending for item in each.effect.items()]
                waiting += [
                    (f"{path}/{name}".lstrip("/"), each) for name, each in names if each is not None
                ]
        return sorted(found.values(), key=lambda each: each[0])

    def tree(self, lost: set[DiskChange], contents: Mapping[File, bytes | None]) -> Tree:
        """Return what lies on the disk if these changes and contents did not arrive."""
        found: Tree = {}
        waiting: list[tuple[str, Directory]] = [("", self.root)]
        while waiting:
            path, directory = waiting.pop()
            for name, node in directory.entries(lost).items():
                place = f"{path}{name}"
                if isinstance(node, Directory):
                    found[place] = None
                    waiting.append((f"{place}/", node))
                    continue
                content = contents.get(node, node.content)
                if content is not None:
                    found[place] = content
        return found
