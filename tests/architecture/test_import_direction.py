"""Imports run one way: the contracts in pyproject.toml hold, and they can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def copy_of_the_code(folder: Path) -> None:
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def test_imports_run_one_way() -> None:
    """Every contract of `make imports` is kept."""
    done = lint_imports(ROOT)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_an_import_against_the_direction_is_found(tmp_path: Path) -> None:
    """The library importing its trainer, a lower layer a higher one, a neighbour its neighbour."""
    copy_of_the_code(tmp_path)
    errors = tmp_path / "src" / "unbroken" / "errors.py"
    errors.write_text("import unbroken_tts.settings\n" + errors.read_text(encoding="utf-8"))
    batch = tmp_path / "src" / "unbroken_tts" / "data" / "batch.py"
    batch.write_text("import unbroken_tts.hardware\n" + batch.read_text(encoding="utf-8"))
    journal = tmp_path / "src" / "unbroken" / "journal" / "line.py"
    journal.write_text("import unbroken.watch.trend\n" + journal.read_text(encoding="utf-8"))
    done = lint_imports(tmp_path)
    assert 1 == done.returncode
    assert "unbroken: imports run one way BROKEN" in done.stdout
    assert "unbroken.journal is not allowed to import unbroken.watch" in done.stdout
    assert "the library does not know its trainer BROKEN" in done.stdout
    assert "unbroken_tts: imports run one way BROKEN" in done.stdout


def test_a_module_without_a_place_is_found(tmp_path: Path) -> None:
    """A new module at the top of a package must be given its layer."""
    copy_of_the_code(tmp_path)
    (tmp_path / "src" / "unbroken" / "stray.py").write_text('"""No layer names it."""\n')
    done = lint_imports(tmp_path)
    assert 0 != done.returncode
    assert "stray" in done.stdout + done.stderr


def test_a_private_import_of_the_trainer_is_found(tmp_path: Path) -> None:
    """Of a package, of a module in a public package, inside a function; what is public is let be."""
    copy_of_the_code(tmp_path)
    evaluate = tmp_path / "src" / "unbroken_tts" / "evaluate.py"
    added = [
        "import unbroken.testing",
        "from unbroken import checks",
        "from unbroken import journal",
        "import unbroken.testing.inventory",
        "def late() -> None:",
        "    from unbroken.state.position import Position",
    ]
    whole = evaluate.read_text(encoding="utf-8")
    evaluate.write_text(whole + "\n".join([*added, ""]), encoding="utf-8")
    done = lint_imports(tmp_path)
    assert 1 == done.returncode
    contract = "unbroken_tts imports what is public of unbroken, and nothing else BROKEN"
    assert contract in done.stdout
    found = done.stdout.replace("\n", " ")
    for private in ("unbroken.journal", "unbroken.testing.inventory", "unbroken.state.position"):
        assert f"unbroken_tts.evaluate -> {private} " in found
    for public in ("unbroken.testing", "unbroken.checks"):
        assert f"unbroken_tts.evaluate -> {public} " not in found
