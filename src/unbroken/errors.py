"""The errors a user can meet, each in three sentences: what was found, why it matters, what to do.

The library raises these and never exits by itself; the command line turns `exit_code` into the status of
the process (see docs/architecture.md, "Exit codes"), and Python does so with a `Stopped` that nobody catches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class UnbrokenError(Exception):
    """Base of all errors that are the user's to mend.

    Args:
        what: What was found, with both values and the file or leaf it was found in.
        why: Why it matters: what would go wrong if it were ignored.
        remedy: What to do, as one imperative sentence. It speaks of the library's arguments.
        topic: By which a program with flags finds a remedy in its own words; empty where it needs none.
        given: What such a remedy has to name, as text.
    """

    exit_code: int = 1
    """What the process should exit with."""

    def __init__(
        self,
        what: str,
        why: str,
        remedy: str,
        *,
        topic: str = "",
        given: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy
        self.topic = topic
        self.given = dict(given or {})

    def __str__(self) -> str:
        """Return the three sentences."""
        return f"{self.what}\n{self.why}\n{self.remedy}"

    def __reduce__(self) -> tuple[type[UnbrokenError], tuple[str, ...], dict[str, Any]]:
        """Let a worker process hand the error over with all that it says."""
        state = {"topic": self.topic, "given": self.given, "exit_code": self.exit_code}
        return type(self), (self.what, self.why, self.remedy), state


class SettingsInvalid(UnbrokenError):
    """The command itself can't be run: usage, settings, or inputs that contradict one another."""

    exit_code = 2


class RunMisused(UnbrokenError, RuntimeError):
    """A loop made a call that the run can't follow at this point, such as after `close()`."""

    exit_code = 2


class DirectoryInUse(UnbrokenError):
    """Another process writes to the same run; the command can be given again when it is gone."""

    exit_code = 2


class DataInvalid(UnbrokenError):
    """An input file is missing, damaged, or not what the command needs."""

    exit_code = 2


class NotEncodable(UnbrokenError):
    """A part's state holds a value that the typed codec can't write down and read back."""

    exit_code = 2


class StateMismatch(UnbrokenError):
    """The saved state and the live objects differ in structure (missing, surplus, shape, dtype)."""

    exit_code = 3


class ResumeRefused(UnbrokenError):
    """The inputs are fine, but they are not this run's."""

    exit_code = 3
    report: Any = None
    """The `unbroken.checks.report.Report` that forbids it, where checks were made."""
    decision: Any = None
    """The `unbroken.checks.decision.Decision` it came to."""


class Diverged(UnbrokenError):
    """A step that was repeated after a resume came out otherwise than the first time."""

    exit_code = 3


class CheckpointCorrupt(UnbrokenError):
    """A checkpoint's bytes are not the bytes that were saved."""

    exit_code = 4


class CheckpointUnreadable(CheckpointCorrupt):
    """A checkpoint could not be read at all; its bytes may be what was saved."""


class CheckpointOfLaterVersion(CheckpointCorrupt):
    """A checkpoint has a format that this version doesn't know; nothing is wrong with it."""


class NoUsableCheckpoint(UnbrokenError):
    """No checkpoint was found that a run could continue from."""

    exit_code = 4


class SaveFailed(UnbrokenError):
    """A checkpoint could not be written."""

    exit_code = 5


class OwnerChanged(SaveFailed):
    """Another process took the run over: this one may not write to it any more."""


class RankFailed(UnbrokenError):
    """Another process of the same run ended, failed, or does not answer; this one can't go on alone."""

    exit_code = 7


class TrainingWentBad(UnbrokenError):
    """A loss or gradient stopped being a finite number."""

    exit_code = 6


class Stopped(UnbrokenError, SystemExit):
    """The run was asked to stop, saved, and can be started again.

    A program that doesn't catch it ends with its exit code and without a traceback.

    Args:
        exit_code: 75 after SIGTERM, SIGUSR1, SIGHUP, an added signal or a stop file; 130 after Ctrl+C.
    """

    def __init__(
        self,
        what: str,
        why: str,
        remedy: str,
        exit_code: int = 75,
        *,
        topic: str = "",
        given: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what, why, remedy, topic=topic, given=given)
        self.exit_code = self.code = exit_code

    @property
    def stop_code(self) -> int:
        """The exit code, by its earlier name."""
        return self.exit_code
