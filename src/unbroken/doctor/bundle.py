"""A bundle: what others need to help with a run, without its weights and without secrets.

Only files with known names are included, each truncated to a size that can be sent. Environment
variables are not included; the home directory is written as `~`.
"""

from __future__ import annotations

import io
import json
import platform
import re
import shlex
import sys
import time
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from unbroken.checkpoint.layout import EVIDENCE, FACTS, MANIFEST, Layout, place_in_name
from unbroken.checkpoint.lock import read_owner
from unbroken.doctor.examination import examine_past
from unbroken.errors import UnbrokenError
from unbroken.journal.journal import read_lines

MOST_BYTES: Final = 2_000_000
"""Largest size of one file; longer ones are truncated."""
JOURNAL_LINES: Final = 200
HISTORY_LINES: Final = 2000
LOG_LINES: Final = 50
"""Lines of the log after the last resume."""
LOG_LINES_BEFORE: Final = 20
REPORTS: Final = 3
"""Number of newest reports of resumes."""
CHECKPOINTS: Final = 5
"""Number of newest checkpoints whose manifests are included."""
LISTED: Final = 2000
"""Largest number of files listed by name and size."""

PACKAGES: Final = ("unbroken", "torch", "numpy", "safetensors", "xxhash", "pydantic", "rich",
                   "transformers", "sentencepiece", "tensorboard")  # fmt: skip

BEGINS: Final = re.compile(rb"(Resumed|Began|Began again) run ")
"""The line of the log with which a start begins to train."""

SECRET: Final = re.compile(
    r"(?i)(^|[-_])(token|secret|password|passwd|credentials?|api[-_]?key|auth)$"
)
"""Names of flags with a private value; `--tokenizer` must not match."""
_URL_LOGIN: Final = re.compile(r"(?<=://)[^\s/@]+@")
_ASSIGNED: Final = re.compile(
    r"(?i)((?:token|secret|password|passwd|credentials?|api[-_]?key)[\"']?\s*[:=]\s*[\"']?)"
    r"(?!\d+\b|\*\*\*)[^\s\"',}]+"
)
_FLAG_VALUE: Final = re.compile(
    r"(?i)(--[\w-]*(?:token|secret|password|passwd|credentials?|api[-_]?key)[\"']?,?\s+[\"']?)"
    r"(?![-*])[^\s\"',}]+"
)


def collect(root: Path) -> dict[str, str]:
    """Return the texts of a bundle by name; empty if the directory has nothing of a run.

    Args:
        root: The run's directory; nothing is changed.
    """
    layout = Layout(root)
    found = {
        "command.txt": _commands(layout),
        "run.json": _text(layout.run_file),
        "latest": _text(layout.latest),
        "pins.json": _text(layout.pins),
        "history.jsonl": _last_lines(layout.history, HISTORY_LINES),
        "journal-end.jsonl": _last_lines(layout.journal, JOURNAL_LINES),
        "console-after-resume.txt": _log_after_resume(layout.logs / "console.log"),
        **_reports(layout),
        **_manifests(layout),
        **{f"quarantine/{each.name}": _text(each) for each in _reasons(layout)},
        "doctor.json": _doctor(root),
    }
    found = {name: text for name, text in found.items() if text}
    if not found:
        return {}
    found["files.txt"] = _listing(root)
    found["versions.json"] = json.dumps(_versions(), indent=1) + "\n"
    found = {name: without_secrets(text) for name, text in found.items()}
    return {"README.txt": _readme(root, found)} | found


def to_zip(files: Mapping[str, str]) -> bytes:
    """Return texts as a zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text.encode("utf-8", errors="backslashreplace"))
    return content.getvalue()


def without_secrets(text: str) -> str:
    """Return a text with the home directory as `~`, and without what looks like a login."""
    home = str(Path.home())
    if len(home) > 1:
        for each in {home, Path(home).as_posix(), json.dumps(home)[1:-1]}:
            text = re.sub(rf"{re.escape(each)}(?![\w.-])", "~", text)
    for pattern in (_ASSIGNED, _FLAG_VALUE):
        text = pattern.sub(r"\1***", text)
    return _URL_LOGIN.sub("***@", text)


def shown_command(words: Iterable[str]) -> str:
    """Return a command as it was typed, without the values of flags that name a secret."""
    shown, hides = [], False
    for each in words:
        flag, is_assigned, _ = each.partition("=")
        is_secret = each.startswith("-") and SECRET.search(flag) is not None
        if hides and not each.startswith("-"):
            shown.append("***")
        elif is_secret and is_assigned:
            shown.append(f"{flag}=***")
        else:
            shown.append(each)
        hides = is_secret and not is_assigned
    return shlex.join(shown)


def _commands(layout: Layout) -> str:
    """Return the commands of the starts, the last one first."""
    commands = []
    for line in read_lines(layout.history):
        words = line.get("command")
        if line.get("event") == "start" and isinstance(words, list):
            commands.append(
                f"start {line.get('start')}, in {line.get('cwd')}:\n{shown_command(words)}\n"
            )
    owner = read_owner(layout)
    if owner is not None:
        commands.append(f"writing now:\n{shown_command(owner.command.split())}\n")
    return "\n".join(reversed(commands[-20:]))


def _versions() -> dict[str, Any]:
    """Return the versions of this program; the history has those of each start."""
    found: dict[str, Any] = {"python": sys.version, "platform": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _reports(layout: Layout) -> dict[str, str]:
    if not layout.logs.is_dir():
        return {}
    texts = sorted(layout.logs.glob("resume-*.txt"), key=lambda each: each.stat().st_mtime)
    pairs = [path for each in texts[-REPORTS:] for path in (each, each.with_suffix(".json"))]
    return {f"reports/{each.name}": _text(each) for each in pairs}


def _manifests(layout: Layout) -> dict[str, str]:
    if not layout.checkpoints.is_dir():
        return {}
    places = sorted(
        (place, each)
        for each in layout.checkpoints.iterdir()
        if (place := place_in_name(each.name)) is not None
    )
    return {
        f"checkpoints/{each.name}/{name}": _text(each / name)
        for _, each in places[-CHECKPOINTS:]
        for name in (MANIFEST, FACTS, EVIDENCE)
    }


def _reasons(layout: Layout) -> list[Path]:
    return sorted(layout.quarantine.glob("*.reason.txt")) if layout.quarantine.is_dir() else []


def _doctor(root: Path) -> str:
    try:
        found = examine_past(root)
    except UnbrokenError as error:
        return f"{error}\n"
    return "" if found is None else json.dumps(asdict(found), indent=1) + "\n"


def _text(path: Path) -> str:
    """Return the beginning of a file as text; empty if it is not a regular file."""
    try:
        if path.is_symlink() or not path.is_file():
            return ""
        with path.open("rb") as file:
            content = file.read(MOST_BYTES)
            is_cut = bool(file.read(1))
    except OSError as error:
        return f"could not be read: {error}\n"
    text = content.decode("utf-8", errors="backslashreplace")
    return f"{text}\n... truncated after {MOST_BYTES} bytes\n" if is_cut else text


def _last_lines(path: Path, count: int) -> str:
    lines = b"".join(deque(_raw_lines(path), maxlen=count))
    return lines[-MOST_BYTES:].decode("utf-8", errors="backslashreplace")


def _raw_lines(path: Path) -> Iterator[bytes]:
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as file:
        while line := file.readline(MOST_BYTES):  # a limit, in case a line has no end
            yield line


def _log_after_resume(path: Path) -> str:
    """Return the lines of the log around the last start of training."""
    before: deque[bytes] = deque(maxlen=LOG_LINES_BEFORE)
    after: list[bytes] = []
    for line in _raw_lines(path):
        if BEGINS.match(line):
            after = [*before, line]
        elif after and len(after) <= LOG_LINES + LOG_LINES_BEFORE:
            after.append(line)
        before.append(line)
    text = b"".join(after or before)[:MOST_BYTES]
    return text.decode("utf-8", errors="backslashreplace")


def _listing(root: Path) -> str:
    """Return names, sizes and times of the files of a run."""
    rows: list[str] = []
    for path in sorted(root.rglob("*")):
        if len(rows) >= LISTED:
            rows.append("... and more")
            break
        if path.is_file() and not path.is_symlink():
            stat = path.stat()
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(stat.st_mtime))
            rows.append(f"{stat.st_size:>14}  {when}  {path.relative_to(root).as_posix()}")
    return "\n".join(rows) + "\n"


def _readme(root: Path, files: Mapping[str, str]) -> str:
    rows = "\n".join(f"  {name:<50} {len(text):>9} characters" for name, text in files.items())
    return without_secrets(
        f"What others need to help with the run in {root}.\n"
        f"Collected by `unbroken bundle` at {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}."
        "\n\nNo weights, no samples, no environment variables; the home directory is written as ~.\n"
        "It contains names of samples, paths and settings: look through it before you send it.\n\n"
        f"{rows}\n"
    )
