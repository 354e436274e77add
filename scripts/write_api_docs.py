"""Write docs/api.md from the docstrings of the public names; with --check only compare.

Names stand in groups of one purpose, each with an example: a file of docs/examples, which the tests
run as it stands on the page.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from written_page import write_or_compare

from unbroken import Stopped, UnbrokenError

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "api.md"
MADE_BY_THE_RUN = {"Step"}
"""Classes whose arguments concern nobody."""
PACKAGES = ("unbroken", "unbroken.checks", "unbroken.testing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Names of one purpose."""

    title: str
    package: str
    names: tuple[str, ...]
    example: str
    """The name of a file of docs/examples."""
    note: str = ""
    """What the docstrings don't say."""


GROUPS = (
    Group(
        title="A run and its steps",
        package="unbroken",
        names=(
            "Run", "ResumeReport", "FactDifference", "StepBatches", "Mix", "Step", "MicroBatch",
            "StepResult", "Position", "Schedule", "warmup_cosine",
        ),
        example="training",
        note="A run also has `order`, `layout` (the paths of its directory, as `RunDirectory` has "
        "them) and `stop` (its `StopRequest`). `run.monitor.listen(tell)` hands every line about "
        "repeated steps to `tell` instead of the log; `run.monitor.nothing_to_train()` drops the lines "
        "that wait, where no step follows.\n",
    ),
    Group(
        title="A loop that stays as it is",
        package="unbroken",
        names=("protect", "Values"),
        example="protect",
    ),
    Group(
        title="Trackers",
        package="unbroken",
        names=("tracker", "Tracker"),
        example="trackers",
        note="How a run goes on in each of them: [library.md](library.md#trackers).\n",
    ),
    Group(
        title="Probe and validation",
        package="unbroken",
        names=("Probe", "isolated"),
        example="probe",
    ),
    Group(
        title="Requests to stop",
        package="unbroken",
        names=("StopRequest", "ignore_stop_signals"),
        example="stop",
    ),
    Group(
        title="Reading a run's directory and its checkpoints",
        package="unbroken",
        names=("RunDirectory", "find_checkpoint", "Checkpoint", "find_source", "ResumeSource"),
        example="directory",
    ),
    Group(
        title="Showing what a resume found, and asking a person",
        package="unbroken",
        names=("render_report", "save_report", "why_unattended", "count_down", "legible", "terminal_width"),
        example="report",
    ),
    Group(
        title="Files that are whole or not there",
        package="unbroken",
        names=("atomic_write", "AppendFile", "write_tensors", "read_tensors"),
        example="files",
    ),
    Group(
        title="Randomness that follows from numbers",
        package="unbroken",
        names=("permutation", "mix64", "mix64_each"),
        example="randomness",
    ),
    Group(
        title="A program of several commands",
        package="unbroken",
        names=(
            "Program", "run_program", "Parser", "nearest", "progress_bars", "new_bars", "counted",
            "usable_cores",
        ),
        example="command",
    ),
    Group(
        title="Checks of your own",
        package="unbroken.checks",
        names=(
            "Check", "FactCheck", "StateSummary", "Leaf", "agrees", "differs", "cannot_compare",
            "Difference", "CheckResult", "CheckOutcome", "Severity", "OnAccept", "Stage", "Advice",
            "Consequences", "wrong_examples", "every_check", "require_known", "Finding", "Report",
            "Decision", "examine", "decide",
        ),
        example="checks",
        note="A longer example is in [library.md](library.md#a-check-of-your-own).\n",
    ),
    Group(
        title="Errors",
        package="unbroken",
        names=(
            "UnbrokenError", "SettingsInvalid", "DataInvalid", "DirectoryInUse", "NotEncodable",
            "RunMisused", "StateMismatch", "ResumeRefused", "Diverged", "CheckpointCorrupt",
            "NoUsableCheckpoint", "SaveFailed", "RankFailed", "TrainingWentBad", "Stopped",
        ),
        example="errors",
    ),
    Group(
        title="Testing a training of your own",
        package="unbroken.testing",
        names=("assert_resume_is_exact", "kill_at"),
        example="testing",
    ),
)  # fmt: skip

HEAD = """\
# The public names

Written by `scripts/write_api_docs.py` from the docstrings; don't edit it.

Public is what `unbroken`, `unbroken.checks` and `unbroken.testing` export and this page describes.
All other modules, and attributes that stand on no page, may change without notice; the trainer
`unbroken_tts` imports none of them either. A page to begin with: [library.md](library.md).
"""

HEADINGS = ("Args", "Raises", "Returns", "Yields")
LONGEST_LINE = 96


def page() -> str:
    """Return the whole page."""
    parts = [HEAD, _contents()]
    parts += [_group(each) for each in GROUPS]
    return "\n".join(parts)


def ungrouped() -> list[str]:
    """Return the public names that no group has."""
    grouped = {(each.package, name) for each in GROUPS for name in each.names}
    return [
        f"{package}.{name}"
        for package in PACKAGES
        for name in getattr(importlib.import_module(package), "__all__", [])
        if (package, name) not in grouped
    ]


def _contents() -> str:
    rows = [
        f"| [{each.title}](#{_anchor(each.title)}) | {', '.join(f'`{n}`' for n in each.names)} |"
        for each in GROUPS
    ]
    return "\n".join(["| for | names |", "| --- | --- |", *rows, ""])


def _anchor(title: str) -> str:
    """Return how a heading is linked to."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _group(group: Group) -> str:
    code = (DOCS / "examples" / f"{group.example}.py").read_text(encoding="utf-8")
    parts = [f"## {group.title}\n", f"```python\n{code}```\n"]
    parts += [group.note] if group.note else []
    package = importlib.import_module(group.package)
    prefix = "" if group.package == "unbroken" else f"{group.package}."
    parts += [_entry(f"{prefix}{name}", getattr(package, name)) for name in group.names]
    return "\n".join(parts)


def _entry(name: str, thing: Any) -> str:
    lines = [f"### `{name}`\n"]
    if name in MADE_BY_THE_RUN:
        lines.append(f"{_first_line(thing)}\n")
    else:
        if not inspect.isclass(thing) or _is_made_by_us(thing):
            lines.append(f"```\n{_signature(name, thing)}\n```\n")
        lines.append(_text(thing))
    if inspect.isclass(thing) and issubclass(thing, UnbrokenError):
        lines.append(f"Exit code {thing.exit_code}.\n" if thing is not Stopped else "")
    if inspect.isclass(thing):
        fields = _fields(thing)
        lines += [f"- `{field}`: {text}" for field, text in fields.items()]
        lines += [""] if fields else []
        for member, of in _methods(thing):
            lines.append(f"**`{_signature(member, of, is_method=True)}`** {_text(of)}")
    return "\n".join(lines)


def _is_made_by_us(thing: type) -> bool:
    """Say whether a class has arguments of its own; those of Python's change with its version."""
    owner = next(each for each in thing.__mro__ if "__init__" in vars(each))
    is_own = owner is thing or not issubclass(thing, Exception)
    return is_own and owner.__module__.partition(".")[0] == "unbroken"


def _signature(name: str, thing: Any, *, is_method: bool = False) -> str:
    """Return how it is called; where that is too long for a line, an argument a line."""
    found = inspect.signature(thing)
    given = list(found.parameters.values())[is_method:]
    words = [_argument(each) for each in given]
    kinds = [each.kind for each in given]
    keyword, others = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL
    if keyword in kinds and others not in kinds:
        words.insert(kinds.index(keyword), "*")
    is_class = inspect.isclass(thing) or found.return_annotation is inspect.Signature.empty
    arrow = "" if is_class else f" -> {found.return_annotation}"
    if hasattr(thing, "__wrapped__"):  # made by `contextmanager`
        arrow = arrow.replace("Iterator[", "ContextManager[")
    line = f"{name}({', '.join(words)}){arrow}"
    if len(line) <= LONGEST_LINE or is_method:
        return line
    return "\n".join([f"{name}(", *(f"    {each}," for each in words), f"){arrow}"])


def _argument(given: inspect.Parameter) -> str:
    """Return an argument with its type and default; a default that is made or a function is `...`."""
    stars: dict[Any, str] = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    word = f"{stars.get(given.kind, '')}{given.name}"
    if given.annotation is not inspect.Parameter.empty:
        word += f": {given.annotation}"
    if given.default is inspect.Parameter.empty:
        return word
    is_made = callable(given.default) or repr(given.default) == "<factory>"
    return f"{word} = {'...' if is_made else repr(given.default)}"


def _fields(thing: type) -> dict[str, str]:
    """Return the attributes and properties that have a docstring, by name."""
    found: dict[str, str] = {}
    for owner in reversed(thing.__mro__[:-1]):
        if owner.__module__.partition(".")[0] == "unbroken":
            found |= _documented_attributes(owner)
    properties = inspect.getmembers(thing, lambda each: isinstance(each, property))
    found |= {n: _first_line(each) for n, each in properties if not n.startswith("_")}
    return found


def _documented_attributes(owner: type) -> dict[str, str]:
    """Return what stands as text below the attributes of a class, in its source."""
    source = inspect.getsource(owner)
    pattern = re.compile(
        r'^(?:    |        self\.)(\w+)(?:: [^\n=]+)?(?: = [^\n]*)?\n +"""(.*?)"""',
        re.MULTILINE | re.DOTALL,
    )
    return {
        name: " ".join(text.split())
        for name, text in pattern.findall(source)
        if not name.startswith("_") and name not in {"return", "pass"}
    }


def _methods(thing: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods that are ours, in the order of the source."""
    if issubclass(thing, Exception):
        return
    seen = set()
    for owner in thing.__mro__[:-1]:
        if owner.__module__.partition(".")[0] != "unbroken":
            continue
        for name, each in vars(owner).items():
            method = each.__func__ if isinstance(each, classmethod | staticmethod) else each
            if inspect.isfunction(method) and not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, method


def _first_line(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n", maxsplit=1)[0].split())


def _text(thing: Any) -> str:
    """Return a docstring as Markdown: its sections become lists."""
    blocks = re.split(r"\n\n(?=\S)", inspect.getdoc(thing) or "")
    lines = []
    for block in blocks:
        heading, _, rest = block.partition("\n")
        if heading.rstrip(":") in HEADINGS and heading.endswith(":"):
            lines.append(_section(heading.rstrip(":"), inspect.cleandoc(f"\n{rest}")))
        else:
            lines.append(f"{block}\n")
    return "\n".join(lines)


def _section(heading: str, text: str) -> str:
    if heading in {"Returns", "Yields"}:
        return f"{heading}: {' '.join(text.split())}\n"
    entries = re.split(r"\n(?=\S)", text)
    rows = []
    for entry in entries:
        name, _, said = entry.partition(": ")
        first, *more = said.split("\n\n")
        rows.append(f"- `{name}`: {' '.join(first.split())}")
        rows += [f"  {line.strip()}" for each in more for line in _rejoined(each)]
    return f"{heading}:\n\n" + "\n".join(rows) + "\n"


def _rejoined(block: str) -> list[str]:
    """Return the points of a list, each on one line."""
    return [" ".join(each.split()) for each in re.split(r"\n(?=\s*- )", block.strip())]


def main() -> int:
    """Write the page, or compare it with --check; return the exit code."""
    if missing := ungrouped():
        print(f"No group of scripts/write_api_docs.py has {', '.join(missing)}.")
        return 1
    return write_or_compare(PAGE, page())


if __name__ == "__main__":
    sys.exit(main())
