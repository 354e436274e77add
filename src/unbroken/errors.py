"""The errors a user can meet, each in three sentences: what was found, why it matters, what to do.

The library raises these and never prints or exits; the command line turns `exit_code` into the
status of the process (see docs/architecture.md, "Exit codes").
"""

from __future__ import annotations

from typing import Any, ClassVar


class UnbrokenError(Exception):
    """Base of all errors that are the user's to mend.

    Args:
        what: What was found, with both values and the file or leaf it was found in.
        why: Why it matters: what would go wrong if it were ignored.
        remedy: What to do, as one imperative sentence.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(f"{what}\n{why}\n{remedy}")
        self.what = what
        self.why = why
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[UnbrokenError], tuple[str, str, str]]:
        """Let a worker process hand the error over with its three sentences."""
        return type(self), (self.what, self.why, self.remedy)


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


class TrainingWentBad(UnbrokenError):
    """A loss or gradient stopped being a finite number."""

    exit_code = 6


class Stopped(UnbrokenError):
    """The run was asked to stop, saved, and can be started again.

    Args:
        exit_code: 75 after SIGTERM, SIGUSR1, SIGHUP or a stop file; 130 after Ctrl+C.
    """

    def __init__(self, what: str, why: str, remedy: str, exit_code: int = 75) -> None:
        super().__init__(what, why, remedy)
        self.stop_code = exit_code
