"""Shows the report of a resume, asks the user, and saves the report with the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from unbroken import count_down, legible, render_report, save_report, terminal_width, why_unattended
from unbroken.checks import Decision, Report
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.console import Console

Commands = Callable[[Report], Mapping[str, str]]
"""Returns, by the id of a finding, the command that continues in spite of it."""


class ResumeDialogue:
    """Shows the report of one start, once, and asks whether to continue.

    Args:
        settings: --on-critical, --abort-window and --verbose.
        console: Receives the lines.
        commands: Builds the commands that continue; None shows the general advice of the checks.
        directory: The run's; None for --output-dir.
    """

    def __init__(
        self,
        settings: TrainSettings,
        console: Console,
        commands: Commands | None = None,
        directory: Path | None = None,
    ) -> None:
        self.settings = settings
        self._console = console
        self._commands = commands
        self._directory = directory or settings.output_dir
        self._shown: list[Report] = []

    def show(self, report: Report, decision: Decision) -> None:
        """Print a report once; one without checks is not printed."""
        if not report.findings or any(_is_same(report, each) for each in self._shown):
            return
        self._shown.append(report)
        commands = self._commands(report) if self._commands and decision.blocking else None

        def lines(stream: TextIO) -> list[str]:
            return render_report(
                report,
                decision,
                verbose=self.settings.verbose,
                width=terminal_width(stream),
                encoding=_encoding_of(stream),
                commands=commands,
                directory=self._directory,
            )

        self._print(lambda stream: [*lines(stream), ""])

    def confirm(self, report: Report, decision: Decision) -> bool:
        """Show the report, and return whether to continue with the saved values.

        At a terminal there is a countdown in which Ctrl+C aborts; without one the resume is refused.
        """
        try:
            self.show(report, decision)
            return self._answer(decision)
        except KeyboardInterrupt:  # Ctrl+C while the report was being printed also aborts
            self._line("Aborted by Ctrl+C; nothing was changed.")
            return False

    def keep(self, logs: Path, step: int, report: Report, decision: Decision) -> Path | None:
        """Save the report in the run's logs; a failing disk costs the file, not the run."""
        if not report.findings:
            return None
        try:
            place = save_report(logs, step, report, decision)
        except OSError as error:
            self._line(f"NOTE: can't save the report in {logs}: {error}")
            return None
        if decision.blocking or not self.settings.verbose:
            self._line(f"Full report: {place}")
        return place

    def _answer(self, decision: Decision) -> bool:
        if not decision.can_be_confirmed:
            return False
        how = self.settings.on_critical
        if how == "continue":
            self._line("--on-critical continue: continuing with the saved values.")
            return True
        if how == "abort":
            self._line("--on-critical abort: refused; nothing was changed.")
            return False
        nobody = why_unattended(sys.stdin, sys.stderr, os.environ)
        if nobody:
            self._line(
                f"Nobody can be asked ({nobody}): refused; nothing was changed. "
                "--on-critical continue continues with the saved values."
            )
            return False
        if not count_down(self.settings.abort_window, sys.stderr):
            self._line("Aborted by Ctrl+C; nothing was changed.")
            return False
        self._line("Not aborted: continuing with the saved values.")
        return True

    def _line(self, text: str) -> None:
        self._print(lambda stream: [legible(text, _encoding_of(stream))])

    def _print(self, lines: Callable[[TextIO], list[str]]) -> None:
        """Print lines; on stderr too if only that is a terminal."""
        for line in lines(sys.stdout):
            self._console.line(line)
        if not sys.stdout.isatty() and not why_unattended(sys.stdin, sys.stderr, os.environ):
            with suppress(OSError):
                sys.stderr.write("".join(f"{each}\n" for each in lines(sys.stderr)))


def _encoding_of(stream: TextIO) -> str:
    # A stream without an encoding takes any text.
    return getattr(stream, "encoding", None) or "utf-8"


def _is_same(report: Report, other: Report) -> bool:
    return report.findings == other.findings
