"""What is public, and that the trainer uses nothing else: whoever adds a name does so on purpose."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import unbroken
from support.tiny_trainer import environment

TRAINER = Path(__file__).parents[2] / "src" / "unbroken_tts"

PUBLIC = {
    "unbroken": [
        "AppendFile", "Checkpoint", "CheckpointCorrupt", "DataInvalid", "DirectoryInUse",
        "Diverged", "FactDifference", "MicroBatch", "Mix", "NoUsableCheckpoint", "NotEncodable", "Parser",
        "Position", "Probe", "Program", "RankFailed", "ResumeRefused", "ResumeReport", "ResumeSource", "Run",
        "RunDirectory", "RunMisused", "SaveFailed", "Schedule", "SettingsInvalid", "StateMismatch", "Step",
        "StepBatches", "StepResult", "StopRequest", "Stopped", "Tracker", "TrainingWentBad", "UnbrokenError", "Values",
        "atomic_write", "count_down", "counted", "find_checkpoint", "find_source",
        "ignore_stop_signals", "isolated",
        "legible", "mix64", "mix64_each", "nearest", "new_bars", "permutation", "progress_bars",
        "protect", "read_tensors", "render_report", "run_program", "save_report", "terminal_width", "tracker", "usable_cores",
        "warmup_cosine", "why_unattended", "write_tensors",
    ],
    "unbroken.checks": [
        "Advice", "Check", "CheckOutcome", "CheckResult", "Consequences", "Decision", "Difference",
        "FactCheck", "Finding", "Leaf", "OnAccept", "Report", "Severity", "Stage", "StateSummary",
        "agrees", "cannot_compare", "decide", "differs", "every_check", "examine", "require_known",
        "wrong_examples",
    ],
    "unbroken.testing": ["assert_resume_is_exact", "kill_at"],
}  # fmt: skip
"""Taking a name away breaks programs of others; a new one is a promise."""


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these(package: str) -> None:
    """Each is there, and has a docstring."""
    module = importlib.import_module(package)
    assert PUBLIC[package] == sorted(getattr(module, "__all__", []))
    for name in PUBLIC[package]:
        assert getattr(module, name).__doc__


def test_a_name_that_is_not_public_is_not_there() -> None:
    """As for any module; `hasattr` and `copy` rely on it."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = unbroken.nonsense


def test_importing_the_library_imports_no_torch() -> None:
    """`import unbroken` and what a command line needs are there at once."""
    code = (
        "import sys, unbroken, unbroken.testing\n"
        "from unbroken import Program, StopRequest, atomic_write, counted, nearest, run_program\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert "False\n" == done.stdout


def at_run_time(tree: ast.AST) -> Iterator[str]:
    """Yield the private names of the library that code reaches without an import statement."""
    for node in ast.walk(tree):
        name = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "unbroken":
            name = ast.unparse(node)
        is_public = name in PUBLIC or name.removeprefix("unbroken.") in unbroken.__all__
        if re.fullmatch(r"unbroken(\.\w+)+", name) and not is_public:
            yield name


def test_the_trainer_reaches_nothing_private_at_run_time() -> None:
    """What the contract on imports can't see: names as text, attributes of the package."""
    found = {
        path.relative_to(TRAINER).as_posix(): private
        for path in sorted(TRAINER.rglob("*.py"))
        if (private := list(at_run_time(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert {} == found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import_module('unbroken.run.run')", ["unbroken.run.run"]),
        ("unbroken.state.mix.mix64(1)", ["unbroken.state"]),
        ("unbroken.testing.kill_at(unbroken.Run); import_module('unbroken.checks')", []),
    ],
)
def test_the_search_finds_what_it_is_meant_to(code: str, expected: list[str]) -> None:
    """Text, attributes; and nothing that is public."""
    assert expected == list(at_run_time(ast.parse(code)))
