"""Requests to stop: signals and a stop file, noted at once and honoured at the next safe point."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from unbroken.errors import SaveFailed, Stopped
from unbroken.loop.durations import seconds_of
from unbroken.loop.loader_workers import shield_workers
from unbroken.loop.signals import SIGNALS, stop_signals

GRACEFUL_STEPS = 2
"""Steps trained on after the save of a stop, while grace remains."""

LAST_TRY = 0.75
"""Share of the grace after which a save that failed is not tried again."""

EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130


class StopRequest:
    """Whether somebody asked this process to stop, and who.

    Args:
        stop_file: A file whose existence asks for a stop; looked for at most once a second.
        added: Signals that ask for a stop beside `SIGNALS`, by number or name.
        after: Time from now on after which a stop is asked for, as `1h50m` or in seconds.

    Raises:
        SettingsInvalid: One that was added is no signal that can ask for a stop, or the time is none.
    """

    SIGNALS: ClassVar = SIGNALS
    """The signals that ask for a stop on this system, whatever is added."""

    def __init__(
        self,
        stop_file: Path | None = None,
        added: Collection[int | str] = (),
        after: str | float | None = None,
    ) -> None:
        self.stop_file = stop_file
        self._after = after
        self._ends = math.inf if after is None else time.monotonic() + seconds_of(after)
        self.signals = stop_signals(added)
        self.reason: str | None = None
        self.exit_code = EXIT_STOPPED
        self.since = 0.0
        self._looked = 0.0
        self.waits_for_others = False
        """Whether other processes train as well, so that a request counts once all have heard of it."""
        self.is_agreed = False
        """Whether they have."""
        shield_workers(self)

    def ask(self, reason: str, exit_code: int = EXIT_STOPPED) -> None:
        """Note a request; the first one counts."""
        if self.reason is None:
            self.reason = reason
            self.exit_code = exit_code
            self.since = time.monotonic()

    @property
    def is_made(self) -> bool:
        """Whether a stop was asked for, of all processes that train."""
        return self.is_agreed if self.waits_for_others else self.is_asked

    @property
    def is_asked(self) -> bool:
        """Whether a stop was asked for, of this process."""
        if self.reason is None and time.monotonic() >= self._ends:
            self.ask(f"the time that was given, {self._after}")
        if self.reason is None and self.stop_file is not None:
            now = time.monotonic()
            if now - self._looked >= 1.0:
                self._looked = now
                if self.stop_file.exists():
                    self.ask(f"the file {self.stop_file}")
        return self.reason is not None

    @property
    def before_a_start(self) -> str:
        """What to do before the next start, which would else be stopped at once."""
        if self.stop_file is None or not self.stop_file.exists():
            return ""
        return f"Remove the file {self.stop_file}. "

    @property
    def seconds(self) -> float:
        """Seconds since the request."""
        return time.monotonic() - self.since if self.reason is not None else 0.0

    def require_time_left(self, grace_seconds: float, failure: SaveFailed) -> None:
        """Let a save that fails be tried again only while there is time for one more.

        Raises:
            SaveFailed: Most of the grace is over.
        """
        if self.seconds > LAST_TRY * grace_seconds:
            raise SaveFailed(
                f"{failure.what} A stop was asked for by {self.reason}, and no save succeeded in the "
                f"{self.seconds:.0f} s since.",
                "The training since the last checkpoint is lost; that checkpoint is untouched.",
                failure.remedy,
            ) from failure

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Listen to the signals; the old handlers are put back at the end.

        A signal that is ignored stays ignored: whoever started the process, such as nohup or a shell
        in the background, wants it to survive that. A second signal ends the process at once, as by
        default: what is committed stays.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self  # only the main thread may set handlers; the stop file still works
            return
        heard = [each for each in self.signals if signal.getsignal(each) is not signal.SIG_IGN]
        old = {number: signal.signal(number, self._heard) for number in heard}
        try:
            yield self
        finally:
            for number, handler in old.items():
                signal.signal(number, _as_before(handler))

    def _heard(self, number: int, frame: FrameType | None) -> None:
        del frame
        code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_STOPPED
        if self.reason is not None:
            with contextlib.suppress(OSError):
                os.write(2, b"\nSecond request: ending at once; the last checkpoint stands.\n")
            os._exit(code)
        self.ask(signal.Signals(number).name, code)


class GracefulStop:
    """What is left to do between the save of a stop and the end of the process.

    Up to two steps are trained on while grace remains, so that the next start has something to
    repeat and to be proved by.

    Args:
        request: The request that was honoured.
        grace_seconds: Time from the request until the process must be gone.
        saved: Name of the checkpoint that was saved.
        inside_step: Whether it was saved inside a step; the rest of that step comes on top.
    """

    def __init__(
        self, request: StopRequest, grace_seconds: float, saved: str, *, inside_step: bool
    ) -> None:
        self.request = request
        self.grace_seconds = grace_seconds
        self.saved = saved
        self.steps_left = GRACEFUL_STEPS + inside_step

    def is_over(self, step_seconds: float) -> bool:
        """Say whether to end now; half of the grace is kept, a step may take longer than the last."""
        elapsed = self.request.seconds + step_seconds
        return self.steps_left <= 0 or elapsed > self.grace_seconds / 2

    def stopped(self) -> Stopped:
        """Return the error that ends the run."""
        return Stopped(
            f"Stopped by {self.request.reason}; saved as {self.saved}.",
            "The run is saved completely and can continue from here, bit for bit.",
            f"{self.request.before_a_start}Start the same program again: it goes on from here.",
            exit_code=self.request.exit_code,
            topic="stopped",
            given={"before": self.request.before_a_start},
        )


def _as_before(handler: Any) -> Callable[[int, FrameType | None], Any] | int:
    return signal.SIG_DFL if handler is None else handler
