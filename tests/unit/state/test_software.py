"""The libraries and files that decide the bits of a step are named: by version, or by digest."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic import BaseModel

from unbroken.journal.change import Kind, changes
from unbroken.state.facts import told_then
from unbroken.state.software import FILES, LIBRARIES, software


def own_module(directory: Path, monkeypatch: pytest.MonkeyPatch, text: str = "") -> ModuleType:
    """Return a module of the user's own, with a model in it."""
    monkeypatch.syspath_prepend(str(directory))
    source = f"import torch\n\nclass Mine(torch.nn.Module):\n    pass\n{text}"
    (directory / "a_module_of_a_user.py").write_text(source, "utf-8")
    return importlib.import_module("a_module_of_a_user")


def test_a_library_is_named_by_the_version_of_its_distribution() -> None:
    """That of a class anywhere inside a part; torch and this library are told elsewhere."""

    class Inherits(BaseModel):
        pass

    found = software([Inherits(), torch.nn.Linear(1, 1)])[LIBRARIES]
    assert metadata.version("pydantic") == found["pydantic"]
    assert metadata.version("numpy") == found["numpy"]
    assert not {"torch", "unbroken"} & found.keys()


def test_an_installed_program_that_started_the_training_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pytest today, a notebook's kernel or `torchrun` tomorrow: no bit depends on it."""
    monkeypatch.setitem(sys.modules, "__main__", pytest)
    found = software([torch.nn.Linear(1, 1)])
    assert "site-packages" in str(pytest.__file__)
    assert "__main__" not in found[LIBRARIES] | found[FILES]


def test_a_file_of_the_users_own_is_named_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest changes with an edit, wherever the file lies."""
    module = own_module(tmp_path, monkeypatch)
    model = torch.nn.Sequential(module.Mine())
    before = software([model])[FILES]["a_module_of_a_user"]
    assert before.startswith("xxh3:")
    (tmp_path / "a_module_of_a_user.py").write_text("edited", "utf-8")
    assert before != software([model])[FILES]["a_module_of_a_user"]


def environment(**told: Any) -> dict[str, Any]:
    return {"environment": {"threads": 1, **told}}


def test_an_upgrade_is_other_kernels_and_an_edit_excuses_nothing() -> None:
    """Both are named where a step comes out otherwise; only the first may round otherwise."""
    was = environment(libraries={"timm": "1.0"}, files={"__main__": "a"})
    now = environment(libraries={"timm": "1.1"}, files={"__main__": "b"})
    (upgrade,) = changes(was, now)
    assert "environment.libraries.timm is 1.1, was 1.0" == str(upgrade)
    assert Kind.KERNELS is upgrade.kind


def test_convolutions_in_tf32_are_another_precision() -> None:
    """They keep 11 significant bits, whatever matrix products do."""
    (change,) = changes(environment(convolutions="tf32"), environment(convolutions="fp32"))
    assert Kind.PRECISION is change.kind


def test_what_an_earlier_version_did_not_write_is_no_change() -> None:
    """Its checkpoints go on without a word."""
    now = environment(libraries={"numpy": "2"}, files={}, convolutions="tf32")
    assert () == changes(environment(), now)
    assert environment() == told_then(environment(), now)
    assert {"mine": 1} == told_then({}, {"mine": 1})
