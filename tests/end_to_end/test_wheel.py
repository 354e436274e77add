"""A wheel installs into an environment that has the library's requirements and nothing else, and works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
NEEDED = ("torch", "numpy", "safetensors", "xxhash", "pydantic", "rich")
"""What `pip install unbroken` installs, beside what these need themselves."""
TRAIN = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)


def run(*words: object, cwd: Path) -> str:
    """Run a command; return what it printed."""
    done = subprocess.run(
        [str(each) for each in words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", ".", cwd=place)
    (built,) = (place / "dist").glob("unbroken-*.whl")
    return built


def needed_by(names: tuple[str, ...]) -> dict[str, Distribution]:
    """Return distributions and all that they need, by name."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found[name] = each = distribution(name)
        for line in each.requires or ():
            required = Requirement(line)
            if required.marker is None or required.marker.evaluate({"extra": ""}):
                waiting.append(required.name)
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and links to what it needs; return where its programs are."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    packages = next(place.rglob("site-packages"))
    for each in needed_by(NEEDED).values():
        for file in each.files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (packages / top).exists():
                (packages / top).symlink_to(Path(str(each.locate_file(top))))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "--python", place, "install", "-q", "--no-deps", "--no-index", wheel, cwd=place)
    return place / "bin"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_it_trains_and_is_inspected(environment: Path, tmp_path: Path) -> None:
    """The program of the README's first screen, and the command line."""
    assert TRAIN is not None
    (tmp_path / "train.py").write_text(TRAIN[1], "utf-8")
    assert "began at step 0" in run(environment / "python", "train.py", cwd=tmp_path)
    assert "goes on at step 30" in run(environment / "python", "train.py", cwd=tmp_path)
    assert "step-00000030" in run(environment / "unbroken", "verify", "out", cwd=tmp_path)
    installed = run(
        environment / "python", "-c", "import unbroken; print(unbroken.__file__)", cwd=tmp_path
    )
    assert str(environment.parent) in installed


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_the_trainer_says_what_is_missing(environment: Path, tmp_path: Path) -> None:
    """`unbroken-tts` needs an extra, and names it instead of a traceback."""
    done = subprocess.run(
        [str(environment / "unbroken-tts"), "train", "--help"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "is not installed" in done.stderr


def test_the_library_requires_no_more() -> None:
    """Each further requirement is a burden to everybody who trains."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = re.search(r"\ndependencies = \[\n(.*?)\n\]", text, re.DOTALL)
    assert listed is not None
    assert tuple(re.findall(r'"([\w-]+)', listed[1])) == NEEDED
