"""Builds, for each finding that stops a resume, the command that continues, ready to copy."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from unbroken import RunDirectory
from unbroken.checks import Finding, OnAccept, Report
from unbroken_tts.train.kept_settings import FOR_GOOD, SETTINGS_CHECK

BEGIN_NEW: Final = {
    "vocabulary-size-unchanged",
    "tokenizer-unchanged",
    "data-set-unchanged",
    "model-leaves-complete",
    "optimizer-alignment-by-name",
    "parts-complete",
}
"""Findings that require a new run, which can begin with the weights of this one."""

GO_BACK: Final = {"values-are-finite", "counters-agree", "optimizer-covers-parameters"}
"""Findings about the checkpoint itself, which an older checkpoint may not have."""


def commands_for(report: Report, words: Sequence[str], checkpoint: Path | None) -> dict[str, str]:
    """Return, by the id of a finding, the command that continues in spite of it.

    Args:
        report: What the checks found.
        words: The command that was typed, from the program's name on.
        checkpoint: The checkpoint to resume; None if the run never saved one and begins again.
    """
    found = {}
    before = None if checkpoint is None else _before(checkpoint)
    for each in report.critical:
        if each.on_accept is not OnAccept.NEVER and not _is_for_good(each):
            found[each.id] = in_shell([*words, "--accept", each.id])
        elif checkpoint is None:  # nothing was saved, so a new run loses nothing
            found[each.id] = in_shell(without(words, "--resume"))
        elif each.id in BEGIN_NEW or _is_for_good(each):
            output = _value_of(words, "--output-dir") or str(checkpoint.parent.parent)
            plain = without(without(words, "--resume"), "--output-dir")
            begins = ["--init-from", str(checkpoint), "--output-dir", f"{output}-new"]
            found[each.id] = in_shell([*plain, *begins])
        elif each.id in GO_BACK and before is not None:
            found[each.id] = in_shell([*without(words, "--resume"), "--resume", str(before)])
    return found


def _is_for_good(finding: Finding) -> bool:
    """Return whether a finding names a setting that a run can't change."""
    if finding.id != SETTINGS_CHECK:
        return False
    for_good = {f"settings.{name}" for name in FOR_GOOD}
    return any(each.path in for_good for each in finding.differences)


def typed_words(argv: Sequence[str]) -> list[str]:
    """Return the words typed to start this process: `sys.argv` with the name of the program."""
    program, *rest = argv
    if program.endswith(".py"):
        return ["python", program, *rest]
    return [Path(program).stem, *rest]


def in_shell(words: Sequence[str]) -> str:
    """Return words as one line for the shell of this system."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def without(words: Sequence[str], flag: str) -> list[str]:
    """Return the words without a flag and its value, in both spellings."""
    left: list[str] = []
    is_value = False
    for each in words:
        if not is_value and each != flag and not each.startswith(f"{flag}="):
            left.append(each)
        is_value = each == flag
    return left


def _before(checkpoint: Path) -> Path | None:
    return RunDirectory(checkpoint.parent.parent).checkpoint_before(checkpoint)


def _value_of(words: Sequence[str], flag: str) -> str:
    """Return the last value given for a flag, or an empty string."""
    found = ""
    for each, following in zip(words, [*words[1:], ""], strict=True):
        if each == flag:
            found = following
        elif each.startswith(f"{flag}="):
            found = each.partition("=")[2]
    return found
