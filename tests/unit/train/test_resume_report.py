"""A critical finding at the start of a training: who is asked, and what the answer is."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from support import preloaded
from support.findings import finding, report, whole_report
from support.pseudo_terminal import run_at_terminal, run_code_at_terminal
from unbroken import RunDirectory
from unbroken.checks.decision import decide
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.console import Console
from unbroken_tts.train.logbook import Logbook
from unbroken_tts.train.resume_report import ResumeDialogue

SETTING = whole_report(finding("settings-unchanged", "learning_rate is 0.0001, was 2e-05"))
OPEN = decide(SETTING)
WEIGHTS = whole_report(finding("weights-identical", "3 of 7 differ"))

posix = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")

CHILD = """
import sys
sys.path.insert(0, {tests!r})
from support import preloaded
from support.findings import finding, whole_report
from unbroken.checks.decision import decide
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.console import Console
from unbroken_tts.train.resume_report import ResumeDialogue
found = whole_report(finding("settings-unchanged", "seed is 2, was 1"))
files = dict(train_manifest=["a"], val_manifest=["b"], tokenizer="c")
settings = TrainSettings(**files, abort_window={window}, verbose={verbose})
confirm = ResumeDialogue(settings, Console()).confirm
{before}
sys.exit(0 if confirm(found, decide(found)) else 3)
"""


def settings(**other: object) -> TrainSettings:
    files = {"train_manifest": ["a"], "val_manifest": ["b"], "tokenizer": "c"}
    return TrainSettings.model_validate(files | other)


def child(window: float, before: str = "", *, verbose: bool = False) -> str:
    tests = str(Path(__file__).parents[2])
    return CHILD.format(tests=tests, window=window, before=before, verbose=verbose)


@posix
def test_a_person_who_presses_ctrl_c_aborts() -> None:
    """The report, the countdown on one line, exit code 3 at once."""
    code, shown = run_at_terminal(["-c", child(3600)], b"\x03")
    assert 3 == code
    assert "🚨 CRITICAL: Not true: The settings are the run's\n" in shown
    assert re.search(r"❌ VALIDATION FAILED\n(.*\n)*=+\n\nPress Ctrl\+C within 3600 seconds", shown)
    assert shown.endswith("\n  3600... ^C\nAborted by Ctrl+C; nothing was changed.\n")


@posix
def test_a_person_who_waits_goes_on_with_the_saved_values() -> None:
    """When the window is over it says what acts."""
    code, shown = run_code_at_terminal(child(0.2))
    assert 0 == code
    assert shown.endswith("  0.2... \nNot aborted: continuing with the saved values.\n")


@posix
def test_a_person_whose_stdout_is_a_file_reads_the_report_on_stderr(tmp_path: Path) -> None:
    """Nobody is counted down without having seen why; the file has the report as well."""
    before = f"sys.stdout = open({str(tmp_path / 'out')!r}, 'w', encoding='utf-8')"
    code, shown = run_code_at_terminal(child(0.2, before))
    assert 0 == code
    assert 1 == shown.count("VALIDATION FAILED")
    assert 1 == (tmp_path / "out").read_text(encoding="utf-8").count("VALIDATION FAILED")


@posix
@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("verbose", [False, True])
def test_the_report_fits_the_terminal(columns: int, *, verbose: bool) -> None:
    """No line is wider than the terminal; what agrees is counted, or all there with --verbose."""
    _, shown = run_code_at_terminal(child(0.2, verbose=verbose), columns=columns)
    assert [] == [each for each in shown.splitlines() if cell_len(each) > columns]
    assert verbose == ("Every weight is the saved weight" in shown)
    assert verbose != ("agrees  weights                5 checks" in shown)


@posix
def test_each_stream_has_its_own_width(tmp_path: Path) -> None:
    """The file that stdout goes to is not wrapped to the terminal that the person reads."""
    before = f"sys.stdout = open({str(tmp_path / 'out')!r}, 'w', encoding='utf-8')"
    _, shown = run_code_at_terminal(child(0.2, before), columns=60)
    written = (tmp_path / "out").read_text(encoding="utf-8")
    assert max(map(cell_len, shown.splitlines())) <= 60 < max(map(cell_len, written.splitlines()))


@posix
def test_a_console_without_our_signs_reads_ascii() -> None:
    """A terminal in another encoding gets words for signs, and no escape codes."""
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    _, shown = run_at_terminal(["-c", child(0.2)], environment=environment)
    assert shown.isascii()
    assert "!! CRITICAL: Not true: The settings are the run's\n" in shown
    assert "[FAILED] VALIDATION FAILED\n" in shown


def test_with_nobody_there_it_is_refused_and_says_why() -> None:
    """No countdown; the reason and the flag that would go on; exit code 3."""
    done = preloaded.run_code(child(3600), action="ignore")
    assert (3, "") == (done.returncode, done.stderr)
    assert "Nobody can be asked (" in done.stdout
    assert "--on-critical continue" in done.stdout
    assert "Press Ctrl+C" not in done.stdout


@pytest.mark.parametrize(("how", "goes_on"), [("continue", True), ("abort", False)])
def test_an_answer_given_beforehand_asks_nobody(
    capsys: pytest.CaptureFixture[str], how: str, *, goes_on: bool
) -> None:
    """The report is shown all the same, and which answer it was."""
    confirm = ResumeDialogue(settings(on_critical=how), Console()).confirm
    assert goes_on == confirm(SETTING, OPEN)
    shown = capsys.readouterr().out
    assert "VALIDATION FAILED" in shown
    assert f"--on-critical {how}: " in shown


def test_what_has_no_saved_value_is_never_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    """`continue` is no way around a state that is not whole."""
    confirm = ResumeDialogue(settings(on_critical="continue"), Console()).confirm
    assert not confirm(WEIGHTS, decide(WEIGHTS))
    assert "going on" not in capsys.readouterr().out


def test_a_report_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever was asked isn't told again by the refusal; another report is another."""
    dialogue = ResumeDialogue(settings(on_critical="abort"), Console())
    dialogue.confirm(SETTING, OPEN)
    dialogue.show(SETTING, OPEN)
    assert 1 == capsys.readouterr().out.count("VALIDATION FAILED")
    dialogue.show(whole_report(), decide(whole_report()))
    assert "ALL CHECKS PASSED" in capsys.readouterr().out


def test_where_a_run_began_there_is_nothing_to_show(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without checks no line is printed and no file is written."""
    dialogue = ResumeDialogue(settings(), Console())
    nothing = report()
    dialogue.show(nothing, decide(nothing))
    assert dialogue.keep(tmp_path / "logs", 0, nothing, decide(nothing)) is None
    assert ("", []) == (capsys.readouterr().out, [*tmp_path.iterdir()])


def test_the_exact_command_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """What the caller says of a finding stands below its advice."""
    dialogue = ResumeDialogue(settings(), Console(), lambda _: {"settings-unchanged": "train it"})
    dialogue.show(SETTING, OPEN)
    assert f"\n{' ' * 19}train it\n" in capsys.readouterr().out


def test_the_report_is_kept_with_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With every line; it is named, and a disk that refuses costs the file and says so."""
    dialogue = ResumeDialogue(settings(), Console())
    place = dialogue.keep(tmp_path / "logs", 7, SETTING, OPEN)
    assert place is not None
    assert place.name.startswith("resume-7-")
    assert "Every weight is the saved weight" in place.read_text(encoding="utf-8")
    assert f"Full report: {place}" in capsys.readouterr().out
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert dialogue.keep(tmp_path / "file", 7, SETTING, OPEN) is None
    assert "NOTE: can't save the report in" in capsys.readouterr().out


def test_the_report_stands_beside_the_curves(tmp_path: Path) -> None:
    """TensorBoard shows it as text, its lines as they are."""
    run = RunDirectory(tmp_path)
    logbook = Logbook(Console(), run, "run", step=7, until=9, interval=0)
    logbook.resumed(7, ["====", "agrees  a   b"])
    logbook.resumed(7, [])
    logbook.close()
    (directory,) = run.logs.iterdir()
    read = EventAccumulator(str(directory))
    read.Reload()
    (event,) = read.Tensors("resume/report/text_summary")
    assert (7, b"    ====\n    agrees  a   b") == (
        event.step,
        event.tensor_proto.string_val[0],
    )
