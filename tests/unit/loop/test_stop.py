"""Stop requests: noted once, honoured later; a second one ends the process at once."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from unbroken.errors import SettingsInvalid, Stopped
from unbroken.loop.durations import seconds_of
from unbroken.loop.signals import SIGNALS
from unbroken.loop.stop import GracefulStop, StopRequest

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def send(number: int) -> None:
    signal.raise_signal(number)


def test_nobody_asked() -> None:
    """Without a request, nothing stops and no time has passed."""
    stop = StopRequest()
    assert not stop.is_made
    assert 0.0 == stop.seconds


def test_the_first_request_counts() -> None:
    """Reason, exit code and time are those of the first request."""
    stop = StopRequest()
    stop.ask("the first", 130)
    stop.ask("the second", 75)
    assert stop.is_made
    assert ("the first", 130) == (stop.reason, stop.exit_code)
    assert stop.seconds >= 0


@posix
@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGHUP", 75), ("SIGINT", 130)]
)
def test_a_signal_is_a_request(name: str, code: int) -> None:
    """Each signal asks once; Ctrl+C has the exit code of Ctrl+C."""
    stop = StopRequest()
    with stop.listening():
        send(getattr(signal, name))
        assert stop.is_made
    assert (name, code) == (stop.reason, stop.exit_code)


def test_old_handlers_are_put_back() -> None:
    """After listening, also after an error, every signal does what it did before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for failing in (False, True):
        with contextlib.suppress(ValueError), StopRequest().listening():
            assert all(signal.getsignal(each) != before[each] for each in SIGNALS)
            if failing:
                raise ValueError("inside")
    assert before == {number: signal.getsignal(number) for number in SIGNALS}


def test_another_thread_listens_to_no_signals() -> None:
    """A loop in another thread runs without handlers, and can still be asked."""
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def loop() -> None:
        with StopRequest().listening() as stop:
            seen.append(signal.getsignal(signal.SIGTERM))
            stop.ask("a friend")
            seen.append(stop.reason)

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join()
    assert [before, "a friend"] == seen


def test_a_stop_file_is_a_request(tmp_path: Path) -> None:
    """The file's existence asks; before it is there nobody did."""
    path = tmp_path / "stop"
    stop = StopRequest(path)
    assert not stop.is_made
    path.touch()
    stop._looked = 0.0  # it is looked for at most once a second
    assert stop.is_made
    assert str(path) in (stop.reason or "")
    assert 75 == stop.exit_code


CHILD = """
import os, signal, sys
from unbroken.loop.stop import StopRequest
stop = StopRequest()
with stop.listening():
    os.kill(os.getpid(), signal.{first})
    assert stop.is_made
    print("heard", flush=True)
    os.kill(os.getpid(), signal.{second})
    print("still here", flush=True)
"""


@posix
@pytest.mark.parametrize(
    ("first", "second", "code"),
    [("SIGTERM", "SIGTERM", 75), ("SIGINT", "SIGINT", 130), ("SIGUSR1", "SIGINT", 130)],
)
def test_a_second_request_ends_the_process_at_once(first: str, second: str, code: int) -> None:
    """Whoever asks twice does not wait: the process ends there and then."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(first=first, second=second)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60,
    )
    assert (code, "heard\n") == (child.returncode, child.stdout)
    assert "Second request" in child.stderr


def test_a_stop_file_has_to_go_before_the_next_start(tmp_path: Path) -> None:
    """While it is there each start would be stopped at once, so the message says to remove it."""
    file = tmp_path / "stop"
    request = StopRequest(file)
    file.touch()
    assert request.is_made
    ending = GracefulStop(request, 30.0, "step-00000001", inside_step=False)
    assert f"Remove the file {file}. Start" in ending.stopped().remedy
    file.unlink()
    assert ending.stopped().remedy.startswith("Start the same program again")


@posix
@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM"])
def test_an_ignored_signal_stays_ignored(name: str) -> None:
    """What `nohup` or a shell in the background has the process ignore doesn't stop it."""
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        stop = StopRequest()
        with stop.listening():
            send(number)
            assert not stop.is_made
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@posix
@pytest.mark.parametrize("given", ["SIGUSR2", signal.SIGUSR2, int(signal.SIGUSR2)])
def test_a_signal_that_was_added_is_a_request(given: int | str) -> None:
    """By name or number; the usual ones stay."""
    for name in ("SIGUSR2", "SIGTERM"):
        stop = StopRequest(added=[given])
        with stop.listening():
            send(getattr(signal, name))
            assert stop.is_made
        assert (name, 75) == (stop.reason, stop.exit_code)


@posix
@pytest.mark.parametrize(
    "given", [["SIGKILL"], ["SIGSTOP"], ["SIGCHLD"], ["SIGUSR9"], [4711], [None], "SIGUSR2", 12]
)
def test_what_can_not_ask_for_a_stop_is_refused(given: Any) -> None:
    """A signal that nobody can hear, that means something else, or that doesn't exist."""
    with pytest.raises(SettingsInvalid, match="stop_signals=") as refused:
        StopRequest(added=given)
    assert 'stop_signals=["SIGUSR2"]' in refused.value.remedy


def test_the_exit_code_of_a_stop_is_the_errors() -> None:
    """By either name, and after it went from one process to another."""
    stopped = Stopped("what", "why", "remedy", exit_code=130)
    for each in (stopped, copy.copy(stopped)):  # as a process hands it to another
        assert (130, 130, "remedy") == (each.exit_code, each.stop_code, each.remedy)


def test_a_stop_is_asked_for_when_the_time_is_over() -> None:
    """A job that ends at a limit saves before it."""
    assert not StopRequest(after="1h").is_made
    request = StopRequest(after=1e-9)
    assert request.is_made
    assert request.reason == "the time that was given, 1e-09"
    assert request.exit_code == 75


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("1h50m", 6600), ("90m", 5400), ("45s", 45), ("2d 1h", 176400), (7.5, 7.5), (3, 3)],
)
def test_lengths_of_time(given: str | float, seconds: float) -> None:
    """As people write them."""
    assert seconds == seconds_of(given)


@pytest.mark.parametrize("given", ["", "1x", "h", "1m2h", "-3s", 0, -1, float("nan"), True, "1.5h"])
def test_what_is_no_length_of_time_is_refused(given: str | float) -> None:
    """Rather than run into the limit."""
    with pytest.raises(SettingsInvalid, match="is no length of time"):
        seconds_of(given)
