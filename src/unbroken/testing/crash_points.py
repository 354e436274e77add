"""What may lie on a disk after a power cut: every state that a record of calls allows.

A call is made, but until an fsync of the file (its bytes) or of the directory (its names) nobody
knows whether it arrived. The model:

- A file's bytes since its last fsync may be there, be missing, be zeros, end at a page or anywhere,
  or lack one page; a file that was never synced may be absent even where its name is not.
- The changes of names in a directory since its last fsync (created, renamed, removed) may have
  arrived or not, in any subset. A rename within a directory is one change. One between directories
  is two, of which the new name may come alone, the loss of the old one only after the new name
  unless the old directory was synced first.
- What a killed process leaves behind is the state in which everything arrived.

That is what POSIX leaves open, more than any one filesystem does.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unbroken.testing.disk_calls import Call
from unbroken.testing.disk_model import Directory, Disk, DiskChange, File, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashState:
    """What may lie on the disk if the power fails at one point."""

    calls_made: int
    """Calls before the crash."""
    losses: tuple[str, ...]
    """What did not arrive of them; empty for the death of the process alone."""
    tree: Tree


@dataclass(frozen=True, slots=True)
class _Loss:
    """One way in which one thing may not have arrived."""

    text: str
    change: DiskChange | None = None
    file: File | None = None
    content: bytes | None = None


def crash_states(
    calls: Sequence[Call],
    *,
    start: Mapping[str, bytes | None] | None = None,
    most_losses: int = 2,
    larger: int = 2000,
    seed: int = 0,
    between: tuple[int, int] | None = None,
) -> Iterator[CrashState]:
    """Yield what may lie on the disk after a power cut, for every prefix of a record.

    Args:
        calls: The record.
        start: What was on the disk, durably, before the first call.
        most_losses: All combinations of up to so many losses at a point are yielded.
        larger: And so many combinations of more, drawn by `seed`; all of them where there are fewer.
        seed: Also draws the lengths of cut files.
        between: Only crashes after so many calls, first and last, both inclusive.
    """
    model = Disk(start or {})
    first, last = between or (0, len(calls))
    for made in range(last + 1):
        if made >= first:
            draw = random.Random(f"{seed}.{made}")  # noqa: S311  # a sample, not a secret
            for losses in _combinations(_losses(model, draw), most_losses, larger, draw):
                lost = {each.change for each in losses if each.change is not None}
                contents = {each.file: each.content for each in losses if each.file is not None}
                texts = tuple(each.text for each in losses)
                yield CrashState(calls_made=made, losses=texts, tree=model.tree(lost, contents))
        if made < last:
            model.apply(calls[made])


def _losses(model: Disk, draw: random.Random) -> list[list[_Loss]]:
    """Return for each thing that may not have arrived the ways in which it may not."""
    found = []
    for path, node in model.nodes():
        if isinstance(node, Directory):
            found += [[_Loss(f"not arrived: {each.text}", change=each)] for each in node.pending]
        elif damages := node.damages(draw):
            found.append(
                [_Loss(f"{path} {what}", file=node, content=each) for what, each in damages]
            )
    return found


def _combinations(
    things: list[list[_Loss]], most: int, larger: int, draw: random.Random
) -> Iterator[tuple[_Loss, ...]]:
    for count in range(min(most, len(things)) + 1):
        for chosen in itertools.combinations(things, count):
            yield from itertools.product(*chosen)
    if len(things) <= most:
        return
    if math.prod(len(ways) + 1 for ways in things) <= larger:
        for count in range(most + 1, len(things) + 1):
            for chosen in itertools.combinations(things, count):
                yield from itertools.product(*chosen)
        return
    for _ in range(larger):
        count = draw.randint(most + 1, len(things))
        yield tuple(draw.choice(ways) for ways in draw.sample(things, count))


class Replica:
    """A directory that shows one state after another, changing only what differs.

    Args:
        directory: An empty directory, best in memory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._shown: Tree = {}

    def show(self, tree: Tree) -> None:
        """Make the directory hold exactly this."""
        gone = [
            path
            for path, content in self._shown.items()
            if path not in tree or (tree[path] is None) != (content is None)
        ]
        for path in sorted(gone, reverse=True):
            place = self.directory / path
            place.rmdir() if self._shown[path] is None else place.unlink()
        for path in sorted(tree):
            content = tree[path]
            if path in self._shown and path not in gone and self._shown[path] == content:
                continue
            if content is None:
                (self.directory / path).mkdir()
            else:
                (self.directory / path).write_bytes(content)
        self._shown = dict(tree)
