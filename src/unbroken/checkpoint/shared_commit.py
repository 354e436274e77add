"""Commits what several processes saved as one checkpoint: all of it becomes visible, or nothing.

1. The leader makes the hidden directory and tells its name, with the digests of what it stores.
2. Each process writes what is its own into it; what equals the leader's is only named.
3. The leader hears the digests of their manifests, or what went wrong, and closes the checkpoint with
   its own manifest, which has these digests.
4. It renames the directory, as for one process, and tells the others.

All of it runs in the threads that write saves, over ranks that no other thread uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken.checkpoint.commit import commit
from unbroken.checkpoint.layout import Layout, rank_name
from unbroken.checkpoint.own_part import Stored, stored_by, write_own
from unbroken.checkpoint.snapshot import HostSnapshot
from unbroken.errors import RankFailed, SaveFailed
from unbroken.ranks.group import Ranks
from unbroken.state.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What the leader tells when it has made the directory."""

    aside: str
    """Its hidden name."""
    target: str
    """The name that it gets."""
    stored: Stored
    """What the leader stores."""
    position: Position
    """Where the leader's state stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What a process tells when it has written its part."""

    digest: str = ""
    """Of its manifest; empty for the leader's, which isn't written yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """What a process tells that can't save."""

    rank: int
    why: str

    def error(self) -> SaveFailed:
        """Return the error that it is on every rank."""
        return SaveFailed(
            f"Rank {self.rank} could not save: {self.why}",
            "A checkpoint holds what every rank saved, so none became visible; the last one is "
            "untouched.",
            f"Look at the machine and the disk of rank {self.rank}; the next save is tried by all.",
        )


class SharedCommit:
    """Commits together with the other processes of a run.

    Args:
        ranks: The processes; no other thread may use these.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    @property
    def is_leader(self) -> bool:
        """Whether this process makes checkpoints visible, and deletes old ones."""
        return self._ranks.rank == 0

    def commit(
        self, layout: Layout, copied: HostSnapshot, require_ours: Callable[[], None]
    ) -> Path:
        """Write this process's part; return the checkpoint's directory once all of it is visible.

        Raises:
            SaveFailed: This or another process could not save. Nothing became visible.
        """
        with _fails_with_others():
            if self._ranks.rank == 0:
                return self._lead(layout, copied, require_ours)
            return self._follow(layout, copied)

    def refuse(self, why: str) -> None:
        """Take part in a save that this process can't make, so that no other waits for it.

        Args:
            why: What the others are told.
        """
        failed = _Failed(rank=self._ranks.rank, why=why)
        with _fails_with_others():
            if self._ranks.rank == 0:
                self._ranks.from_leader(failed)
            elif isinstance(self._ranks.from_leader(None), _Begun):
                self._ranks.gather(failed)
                self._ranks.from_leader(None)

    def _lead(self, layout: Layout, copied: HostSnapshot, require_ours: Callable[[], None]) -> Path:
        followers = _Followers(self._ranks)
        try:
            place = commit(layout, copied, require_ours, others=followers)
        except BaseException as error:
            if not isinstance(error, RankFailed):
                followers.give_up(error)
            raise
        self._ranks.from_leader(None)
        return place

    def _follow(self, layout: Layout, copied: HostSnapshot) -> Path:
        ranks = self._ranks
        begun = ranks.from_leader(None)
        if isinstance(begun, _Failed):
            raise begun.error()
        own = layout.checkpoints / begun.aside / rank_name(ranks.rank)
        try:
            _require_same_place(copied.position, begun.position)
            digest = write_own(own, copied, ranks.rank, begun.stored)
        except BaseException as error:
            ranks.gather(_Failed(rank=ranks.rank, why=_said(error)))
            ranks.from_leader(None)
            raise
        ranks.gather(_Written(digest=digest))
        if isinstance(ended := ranks.from_leader(None), _Failed):
            raise ended.error()
        return layout.checkpoints / str(begun.target)


class _Followers:
    """The other processes, as the leader's commit sees them."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._has_begun = False
        self._has_heard = False
        self._failed: _Failed | None = None

    def begin(self, aside: Path, target: Path, copied: HostSnapshot) -> None:
        """Let them write into the hidden directory."""
        begun = _Begun(
            aside=aside.name, target=target.name, stored=stored_by(copied), position=copied.position
        )
        self._ranks.from_leader(begun)
        self._has_begun = True

    def written(self) -> dict[str, Any]:
        """Wait for them; return what the manifest says of them.

        Raises:
            SaveFailed: One of them could not save.
        """
        told = self._ranks.gather(_Written())
        self._has_heard = True
        failed = [each for each in told if isinstance(each, _Failed)]
        if failed:
            self._failed = failed[0]
            raise self._failed.error()
        return {"ranks": [each.digest for each in told[1:]]}

    def give_up(self, error: BaseException) -> None:
        """Tell them that nothing becomes visible, wherever they are."""
        failed = self._failed or _Failed(rank=0, why=_said(error))
        if self._has_begun and not self._has_heard:
            self._ranks.gather(failed)
        self._ranks.from_leader(failed)


def _require_same_place(own: Position, leaders: Position) -> None:
    if own != leaders:
        raise SaveFailed(
            f"Its state is of step {own.step}, rank 0's of step {leaders.step}.",
            "A checkpoint of two places could not be resumed.",
            "Save on every rank at the same place.",
        )


def _said(error: BaseException) -> str:
    return str(getattr(error, "what", error))


@contextmanager
def _fails_with_others() -> Iterator[None]:
    """Make a process that ended, or doesn't answer, a save that failed."""
    try:
        yield
    except RankFailed as error:
        raise SaveFailed(
            f"A checkpoint could not be completed: {error.what}", error.why, error.remedy
        ) from error
