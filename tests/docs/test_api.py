"""The page of the public names: complete, an example for each group."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["unbroken", "unbroken.checks", "unbroken.testing"])
def test_every_public_name_stands_on_the_page(package: str) -> None:
    """Under a heading of its own, with what its docstring says first."""
    prefix = "" if package == "unbroken" else f"{package}."
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", []):
        found = re.search(
            rf"^### `{re.escape(prefix + name)}`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL
        )
        assert found, name
        said = " ".join(getattr(module, name).__doc__.split("\n\n")[0].split())
        assert said in " ".join(found.group(1).split()), name


def test_every_example_stands_on_the_page() -> None:
    """No file of docs/examples is left over, and none says what the page doesn't."""
    for path in sorted((ROOT / "docs" / "examples").glob("*.py")):
        assert f"```python\n{path.read_text(encoding='utf-8')}```" in PAGE, path.name


def test_every_public_name_is_used_by_an_example() -> None:
    """But for the types that a reader only receives, and the errors that he only catches."""
    received = {
        "Checkpoint", "CheckpointCorrupt", "DataInvalid", "DirectoryInUse", "Diverged",
        "FactDifference", "MicroBatch", "NoUsableCheckpoint", "NotEncodable", "Parser", "Position",
        "ResumeSource", "SaveFailed", "SettingsInvalid", "StateMismatch", "Step", "StepResult",
        "TrainingWentBad", "new_bars",
    }  # fmt: skip
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    unbroken = importlib.import_module("unbroken")
    assert received == {
        name for name in unbroken.__all__ if not re.search(rf"unbroken\.{name}\b", code)
    }
