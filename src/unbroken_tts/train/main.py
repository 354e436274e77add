"""`unbroken-tts train`: one start of a training, from its settings to its exit code."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unbroken import (
    ResumeReport,
    RunDirectory,
    SettingsInvalid,
    Stopped,
    StopRequest,
    UnbrokenError,
    counted,
    render_report,
)
from unbroken.checks import every_check, require_known
from unbroken_tts.rescue.rescue_checks import RESCUE_CHECKS
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.checks.inputs_unchanged import TRAINER_CHECKS
from unbroken_tts.train.console import Console
from unbroken_tts.train.halving import is_out_of_memory
from unbroken_tts.train.logbook import Logbook
from unbroken_tts.train.loop import train_until_done
from unbroken_tts.train.old_run import place_of_old_run
from unbroken_tts.train.part import counts_of
from unbroken_tts.train.processes import Processes, joined, started_by_torchrun
from unbroken_tts.train.remedies import note_with_flags, say_with_flags
from unbroken_tts.train.session import TrainingSession, open_session
from unbroken_tts.train.take_over import take_over


def train(settings: TrainSettings, *, old: Path | None = None, is_dry_run: bool = False) -> int:
    """Train, or resume training; return the exit code.

    Args:
        settings: The settings of this start.
        old: What `rescue` named: the earlier trainer's directory, or one of its files.
        is_dry_run: Whether to tell only what the old files are; needs `old`.

    Raises:
        UnbrokenError: Its class decides the exit code of the command.
    """
    require_known(settings.accept, every_check(added=(*TRAINER_CHECKS, *RESCUE_CHECKS)))
    processes = started_by_torchrun()
    console = Console(is_shown=processes.rank == 0)
    try:
        with joined(processes, settings), stoppable_start(), warnings_shown(console):
            for note in settings.notes():
                console.line(f"NOTE: {note}")
            place = place_of_old_run(settings, old, is_dry_run=is_dry_run)
            if place is not None:
                _require_alone(processes, place)
                take_over(settings, console, place, is_dry_run=is_dry_run)
            if is_dry_run:
                return 0
            session = open_session(settings, console, processes)
            console.keep_in(session.run.layout.logs / "console.log")
            return _train(session, console)
    except UnbrokenError as error:
        say_with_flags(error)
        raise
    finally:
        console.close()


def _require_alone(processes: Processes, place: Path) -> None:
    if processes.count > 1:
        raise SettingsInvalid(
            f"{place} holds a run of the earlier trainer, and {processes.count} processes are started.",
            "Each of them would take it over into the same directory.",
            "Take it over in one process (unbroken-tts rescue), then start the others on the new run.",
        )


class _Lines(logging.Handler):
    """Prints the library's warnings as lines of the training."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one warning."""
        self.console.line(f"{record.levelname}: {record.getMessage()}")


@contextmanager
def warnings_shown(console: Console) -> Iterator[None]:
    """Print the library's warnings, such as a failed save, while the block runs."""
    lines = _Lines(console)
    log = logging.getLogger("unbroken")
    before, log.propagate = log.propagate, False
    log.addHandler(lines)
    try:
        yield
    finally:
        log.removeHandler(lines)
        log.propagate = before


@contextmanager
def stoppable_start() -> Iterator[None]:
    """End with exit code 75 if a stop is requested before the run listens; nothing is lost then.

    Ctrl+C keeps Python's handler: the command ends with exit code 130.
    """

    def heard(number: int, _frame: Any) -> None:
        raise Stopped(
            f"Stopped by {signal.Signals(number).name} outside of the training steps.",
            "Everything that was trained is saved.",
            "Run the same command again to continue.",
        )

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = [
        number
        for number in StopRequest.SIGNALS
        # What is ignored stays ignored: nohup wants the training to survive it.
        if number != signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, heard) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _train(session: TrainingSession, console: Console) -> int:
    run = session.run
    _announce(session.report, session, console)
    if run.position.step >= session.until:
        run.monitor.nothing_to_train()
        done = counted(run.position.step, "step")
        console.line(f"Nothing to train: the run is complete ({done} done, {session.until} wanted)")
    run.monitor.listen(console.line)
    logbook = Logbook(
        console,
        RunDirectory(run.layout.root),
        session.name,
        step=run.position.step,
        until=session.until,
        interval=session.settings.log_interval,
    )
    if session.report.checks.findings:
        shown = render_report(session.report.checks, session.report.decision, verbose=True)
        logbook.resumed(session.report.position.step, shown)
    try:
        train_until_done(session, console, logbook)
    except UnbrokenError as error:
        console.keep(f"Ended: {error.what}")  # the command prints the error itself
        raise
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        run.note("out of memory", step=run.position.step, batch=session.plan.batch)
        raise _out_of_memory(session) from error
    finally:
        logbook.close()
        run.close()
    newest = "".join(f"; last {name}={each:.4f}" for name, each in logbook.newest.items())
    console.line(
        f"Training complete: {counted(run.position.step, 'step')}, "
        f"{counted(run.position.updates, 'update')}{newest}; "
        f"checkpoints in {run.layout.checkpoints}"
    )
    return 0


def _out_of_memory(session: TrainingSession) -> SettingsInvalid:
    batch, effective = session.plan.batch, session.plan.effective
    return SettingsInvalid(
        f"The device's memory ran out in step {session.run.position.step + 1}, with {batch} "
        "samples in a micro-batch.",
        "The step was not completed; the last checkpoint is untouched.",
        f"Run the same command with --resume auto and --batch-size {max(1, batch // 2)}, without "
        f"--grad-accumulation (the effective batch stays {effective}), or add --grad-checkpointing.",
    )


def _announce(report: ResumeReport, session: TrainingSession, console: Console) -> None:
    for note in (*map(note_with_flags, report.notes), *session.notes):
        console.line(f"NOTE: {note}")
    for each in report.changed:
        if not each.is_new:  # an earlier version recorded fewer facts; that is no change
            console.line(f"NOTE: changed since the checkpoint: {each}")
    run, position = session.run, report.position
    if report.outcome == "resumed":
        console.line(
            f"Resumed run {run.run_id} from {report.checkpoint}: step {position.step}, epoch "
            f"{position.epoch}, {counted(position.samples, 'sample')} of the next step; "
            f"{counted(report.steps_to_repeat, 'step')} beyond it will be repeated"
        )
    else:
        verb = "Began" if report.outcome == "began" else "Began again"
        console.line(f"{verb} run {run.run_id} in {run.layout.root}")
    frozen = session.built.model.frozen_rows
    if frozen:
        new = session.built.model.vocabulary + 1 - frozen
        trains = any(each.requires_grad for each in session.built.model.text_head.parameters())
        how = "trained" if trains else "NOT trained (--train-layers doesn't name text)"
        console.line(f"Vocabulary: {frozen} base rows frozen, {new} new rows {how}")
    if session.part is not None:
        trained, left = counts_of(session.built.model)
        console.line(f"Trained: {session.part}: {trained:,} numbers; {left:,} are frozen")
    console.line(f"Steps: {position.step} done of {session.until}")
