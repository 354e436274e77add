"""The countdown at real pseudo-terminals, and who counts as a person."""

from __future__ import annotations

import io
import os
import sys
import types

import pytest

from support.pseudo_terminal import run_at_terminal
from unbroken.report.countdown import BATCH_VARIABLES, count_down, why_unattended

posix = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")

CHILD = """
import os, sys, signal
from unbroken.report.countdown import count_down, why_unattended
{before}
nobody = why_unattended(sys.stdin, sys.stderr, os.environ)
if nobody:
    print("nobody:", nobody, flush=True)
    sys.exit(3)
ran_out = count_down({seconds}, sys.stderr)
print("ran out" if ran_out else "aborted", flush=True)
sys.exit(0 if ran_out else 3)
"""


def at_terminal(code: str, key: bytes = b"") -> tuple[int, str]:
    return run_at_terminal(["-c", code], key)


@posix
def test_nobody_presses_a_key() -> None:
    """The time runs out and it goes on; the seconds stand on one line."""
    code, shown = at_terminal(CHILD.format(before="", seconds=0.2))
    assert (0, "Press Ctrl+C within 0.2 seconds to abort...\n  0.2... \nran out\n") == (code, shown)


def test_one_second_is_one_second() -> None:
    """The singular for 1 alone."""
    shown = io.StringIO()
    assert count_down(1, shown, sleep=lambda _: None)
    assert shown.getvalue().startswith("Press Ctrl+C within 1 second to abort...")


@posix
@pytest.mark.parametrize(
    "before",
    ["", "signal.signal(signal.SIGINT, signal.SIG_IGN)"],
    ids=["as usual", "a shell let it be ignored"],
)
def test_a_person_presses_ctrl_c(before: str) -> None:
    """It ends at once with exit code 3, long before the time is over."""
    code, shown = at_terminal(CHILD.format(before=before, seconds=3600), b"\x03")
    assert 3 == code
    assert shown.startswith("Press Ctrl+C within 3600 seconds to abort...\n  3600... ")
    assert shown.endswith("\naborted\n")


@posix
def test_any_other_key_aborts_nothing() -> None:
    """Only Ctrl+C is an answer."""
    code, shown = at_terminal(CHILD.format(before="", seconds=0.2), b"y\n")
    assert 0 == code
    assert shown.endswith("ran out\n")


@posix
def test_a_batch_system_at_a_terminal_is_nobody() -> None:
    """A scheduler may give its jobs a terminal; its variable says that nobody looks."""
    code, shown = at_terminal(CHILD.format(before="os.environ['SLURM_JOB_ID'] = '7'", seconds=3600))
    assert (3, "nobody: SLURM_JOB_ID is set\n") == (code, shown)


@posix
def test_a_background_job_is_nobody() -> None:
    """Ctrl+C at the terminal would go to the job in the foreground."""
    before = "signal.signal(signal.SIGTTOU, signal.SIG_IGN); os.setpgid(0, 0)"
    # Its parent stays in the foreground, as a shell does.
    parent = f"""
import os, sys
child = os.fork()
if not child:
    os.execv(sys.executable, [sys.executable, "-c", {CHILD.format(before=before, seconds=3600)!r}])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    code, shown = at_terminal(parent)
    assert (3, "nobody: the process runs in the background\n") == (code, shown)


def test_the_seconds_count_down_one_by_one() -> None:
    """Each second is waited for once; a broken window begins with its part of a second."""
    waits: list[float] = []
    stream = io.StringIO()
    assert count_down(10, stream, waits.append)
    assert [1.0] * 10 == waits
    assert stream.getvalue() == (
        "Press Ctrl+C within 10 seconds to abort...\n"
        "  10... 9... 8... 7... 6... 5... 4... 3... 2... 1... \n"
    )
    waits.clear()
    assert count_down(2.5, io.StringIO(), waits.append)
    assert [0.5, 1.0, 1.0] == waits


def test_a_window_of_nothing_asks_nobody() -> None:
    """Nothing is printed and nothing is waited for."""
    stream = io.StringIO()
    assert count_down(0, stream, lambda _seconds: pytest.fail("it waited"))
    assert not stream.getvalue()


def test_ctrl_c_in_mid_second_aborts_and_ends_the_line() -> None:
    """What follows begins on a line of its own."""

    def press(_seconds: float) -> None:
        raise KeyboardInterrupt

    stream = io.StringIO()
    assert not count_down(3, stream, press)
    assert stream.getvalue().endswith("  3... \n")


def test_a_stream_nobody_can_read_is_no_consent() -> None:
    """A terminal that hung up refuses instead of going on."""
    stream = io.StringIO()
    stream.close()
    assert not count_down(1, stream, lambda _seconds: None)


@posix
@pytest.mark.parametrize("which", ["stdin", "stderr"])
def test_both_must_be_terminals(which: str) -> None:
    """A redirected stream is nobody: the seconds would not be seen, or there is no keyboard."""
    import pty

    terminal, side = pty.openpty()
    with (
        open(side, "w", closefd=True, encoding="utf-8") as there,  # noqa: PTH123 -- a descriptor
        open(os.devnull, encoding="utf-8") as redirected,  # noqa: PTH123 -- its name on any system
    ):
        streams = {"stdin": there, "stderr": there}
        assert not why_unattended(**streams, environment={})
        streams[which] = redirected
        assert f"{which} is not a terminal" == why_unattended(**streams, environment={})
    os.close(terminal)


def test_no_stream_at_all_is_nobody() -> None:
    """A service has no standard streams, or closed ones."""
    closed = io.StringIO()
    closed.close()
    assert why_unattended(None, None, {})
    assert why_unattended(closed, closed, {})


@posix
@pytest.mark.parametrize("name", BATCH_VARIABLES)
def test_every_batch_system_is_known_by_its_variable(name: str) -> None:
    """Set, it is named as the reason; set to nothing or to false it is not."""
    import pty

    terminal, side = pty.openpty()
    with open(side, "w", closefd=True, encoding="utf-8") as there:  # noqa: PTH123 -- a descriptor
        assert f"{name} is set" == why_unattended(there, there, {name: "1"})
        assert not why_unattended(there, there, {name: ""})
        assert not why_unattended(there, there, {name: "false"})
    os.close(terminal)


@pytest.mark.parametrize("can_be_asked", [True, False])
def test_a_notebook_counts_as_a_person_unless_a_program_executes_it(
    monkeypatch: pytest.MonkeyPatch, *, can_be_asked: bool
) -> None:
    """In a notebook no stream is a terminal; run from end to end, nobody can answer."""
    shell = types.SimpleNamespace(kernel=types.SimpleNamespace(_allow_stdin=can_be_asked))
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]  # a module made up here
    monkeypatch.setitem(sys.modules, "IPython", module)
    streams = io.StringIO(), io.StringIO()
    assert can_be_asked != bool(why_unattended(*streams, {"KUBERNETES_SERVICE_HOST": "x"}))
