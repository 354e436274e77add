"""The trial of framework versions: which versions it asks for, and what it reads of a test run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module."""
    name = "try_framework_versions"
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


def test_the_oldest_is_what_pyproject_allows(script: ModuleType) -> None:
    """Each lower bound is asked for exactly; the newest is what the whole requirement finds."""
    required = {"some": ["some>=2.5,<3", "other>=1.15"]}
    oldest, newest = script.trials_of(required, ["some"])
    assert ("some==2.5", "other==1.15") == oldest.requirements
    assert ("some>=2.5,<3", "other>=1.15") == newest.requirements


def test_every_adapter_has_an_extra_and_tests(script: ModuleType) -> None:
    """An adapter that is added is tried too, and none is tried without a test."""
    folders = (ROOT / "src" / "unbroken" / "integrations").iterdir()
    adapters = {each.name for each in folders if (each / "__init__.py").exists()}
    assert adapters | {"trl"} == set(script.FRAMEWORKS)
    assert set(script.FRAMEWORKS) <= script.extras().keys()
    for patterns in script.TESTS.values():
        assert all(list(ROOT.glob(each)) for each in patterns)


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("....\n64 passed, 47 deselected in 105.33s (0:01:45)\n", {"passed": 64, "deselected": 47}),
        ("FAILED a - 3 failed in 1.0s\n1 failed, 2 errors in 3.10s\n", {"failed": 1, "error": 2}),
        ("no tests ran in 0.01s\n", {}),
        ("Traceback (most recent call last):\n", {}),
    ],
)
def test_the_last_line_of_the_tests_counts(
    script: ModuleType, output: str, counts: dict[str, int]
) -> None:
    """What passed is never read from a line before it."""
    assert counts == script.counted(output)
