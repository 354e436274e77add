"""The installer: which PyTorch it asks for, and what it says when it can't go on."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere there is only one build of PyTorch to choose"
)

STAND_IN = """\
#!{python}
import pathlib, sys
wanted = sys.argv[-1]
with pathlib.Path(__file__).with_suffix(".log").open("a") as log:
    log.write(wanted + "\\n")
sys.exit(any(word in wanted for word in {refused!r}))
"""


@pytest.fixture
def install() -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def python_that_refuses(folder: Path, *refused: str) -> Path:
    """Write a stand-in for the environment's Python, whose pip can't find what is `refused`."""
    text = STAND_IN.format(python=sys.executable, refused=refused)
    return program(folder, "python", text)


def asked_for(python: Path) -> list[str]:
    return python.with_suffix(".log").read_text(encoding="utf-8").splitlines()


def no_card(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", str(folder))


def a_card(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    program(folder, "nvidia-smi", f"#!{sys.executable}\nprint('GPU 0: a card')\n")
    monkeypatch.setenv("PATH", str(folder))


def test_without_a_card_the_cpu_build_is_taken(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pip finds the CPU build nothing else is asked for."""
    no_card(monkeypatch, tmp_path)
    python = python_that_refuses(tmp_path, "nothing")
    install.install_torch(str(python))
    assert [f"torch=={install.pinned_version('torch')}+cpu"] == asked_for(python)


def test_without_a_cpu_build_the_plain_one_is_taken_and_said(
    install: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The note says what it may bring and how to avoid it."""
    no_card(monkeypatch, tmp_path)
    python = python_that_refuses(tmp_path, "+cpu")
    install.install_torch(str(python))
    pinned = install.pinned_version("torch")
    assert [f"torch=={pinned}+cpu", f"torch=={pinned}"] == asked_for(python)
    assert "PIP_EXTRA_INDEX_URL" in capsys.readouterr().out


def test_with_a_card_the_cpu_build_is_avoided(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three equals signs keep pip from preferring the CPU build where both can be had."""
    a_card(monkeypatch, tmp_path)
    python = python_that_refuses(tmp_path, "nothing")
    install.install_torch(str(python))
    assert [f"torch==={install.pinned_version('torch')}"] == asked_for(python)


def test_what_pip_says_is_shown_when_it_fails(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that can't be had ends the installation with what was asked for."""
    no_card(monkeypatch, tmp_path)
    python = python_that_refuses(tmp_path, "torch")
    with pytest.raises(install.InstallFailed, match="could not install: torch=="):
        install.install_torch(str(python))


def test_an_old_python_is_refused_in_words(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The version found, the version needed and how to name another one; exit code 2."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert 2 == install.main([])
    message = capsys.readouterr().err
    assert "this is Python 3.9.2" in message
    assert "PYTHON=" in message
