"""Run each adapter's tests with the oldest and the newest version of its framework; print a table.

Usage: python scripts/try_framework_versions.py [--only NAME] [--also NAME==VERSION] [--folder DIR]

Each version is installed into a virtual environment of its own, which sees the packages of this one behind
its own: torch and the tools of the tests are this one's. The versions are those that pyproject.toml allows
(`[project.optional-dependencies]`), as far as pip finds them. It takes minutes a version.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FRAMEWORKS: Final = ("transformers", "lightning", "accelerate", "trl")
TESTS: Final = {
    "transformers": (
        "tests/unit/integrations/test_transformers_*.py",
        "tests/end_to_end/test_transformers_*.py",
    ),
    "lightning": (
        "tests/unit/integrations/test_lightning_*.py",
        "tests/end_to_end/test_lightning_*.py",
    ),
    "accelerate": ("tests/unit/integrations/test_accelerate.py", "tests/end_to_end/test_examples.py"),
    "trl": ("tests/end_to_end/test_trl.py",),
}  # fmt: skip
"""The tests of an adapter that are not slow, those of its example in processes that are killed included."""
WITHOUT_EXTRA: Final = {"trl": ["trl>=1.16"]}
"""What an adapter for another framework trains, and nothing here depends on."""
SAY_VERSIONS: Final = """\
import sys
from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in sys.argv[1:]), sep=", ")
"""
COUNTS: Final = ("passed", "failed", "error", "skipped")


class TrialFailed(Exception):
    """A version could not be tried; the message says why."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A version of a framework, and what its tests came to."""

    framework: str
    is_oldest: bool
    requirements: tuple[str, ...]
    """What pip is asked for."""


def main(arguments: Sequence[str]) -> int:
    """Try the versions and print the table; return 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=FRAMEWORKS, action="append", help="this framework alone")
    parser.add_argument("--also", metavar="NAME==VERSION", action="append", default=[])
    parser.add_argument("--folder", type=Path, help="where the environments are made, and stay")
    given = parser.parse_args(arguments)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="frameworks-"))
    trials = [*trials_of(extras(), given.only or FRAMEWORKS), *map(also, given.also)]
    for each in trials:
        if each.framework not in FRAMEWORKS:
            parser.error(f"--also {each.framework}: there are tests of {', '.join(FRAMEWORKS)}")
    print(line("framework", "installed", "tests"), line("---", "---", "---"), sep="\n", flush=True)
    came_to: dict[str, tuple[str, bool]] = {}
    for each in trials:
        print(f"{' '.join(each.requirements)} ...", file=sys.stderr, flush=True)
        which = f"{each.framework}, {'oldest' if each.is_oldest else 'newest'}"
        try:
            python = environment(each, folder.absolute())
            versions = installed(python, each)
            if f"{each.framework} {versions}" not in came_to:  # the oldest may be the newest
                came_to[f"{each.framework} {versions}"] = tried(python, each)
            said, _ = came_to[f"{each.framework} {versions}"]
        except TrialFailed as error:
            versions, said = "", str(error)
            came_to[which] = said, True
        print(line(which, versions, said), flush=True)
    return int(any(has_failed for _, has_failed in came_to.values()))


def extras() -> dict[str, list[str]]:
    """Return what pyproject.toml requires for each framework."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found: dict[str, list[str]] = project["optional-dependencies"]
    return {**found, **WITHOUT_EXTRA}


def trials_of(required: Mapping[str, Sequence[str]], names: Sequence[str]) -> Iterator[Trial]:
    """Yield the oldest and the newest version of each framework."""
    for name in names:
        requirements = tuple(required[name])
        yield Trial(name, True, tuple(re.sub(r">=([\d.]+).*", r"==\1", e) for e in requirements))
        yield Trial(name, False, requirements)


def also(requirement: str) -> Trial:
    """Return the trial of a version that was asked for."""
    return Trial(re.split(r"[=<>~]", requirement)[0], False, (requirement,))


def installed(python: Path, trial: Trial) -> str:
    """Return the versions that an environment has.

    Raises:
        TrialFailed: It has none.
    """
    asked = [re.split(r"[=<>~]", each)[0] for each in trial.requirements]
    return run(str(python), "-c", SAY_VERSIONS, *asked, "torch").strip()


def tried(python: Path, trial: Trial) -> tuple[str, bool]:
    """Run the tests in an environment; return what they came to, and whether any failed."""
    files = sorted(
        str(e.relative_to(ROOT)) for each in TESTS[trial.framework] for e in ROOT.glob(each)
    )
    ended = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--timeout", "900", *files],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    place = python.parents[1]
    log = place.with_name(f"{place.name}.log")
    log.write_text(ended.stdout + ended.stderr, "utf-8")
    counts = counted(ended.stdout)
    said = ", ".join(f"{counts[each]} {each}" for each in COUNTS if each in counts) or "no result"
    return (f"{said}: see {log}" if ended.returncode else said), ended.returncode != 0


def environment(trial: Trial, folder: Path) -> Path:
    """Return the Python of a fresh environment in which a version is installed.

    Raises:
        TrialFailed: It can't be.
    """
    name = re.sub(r"[^\w.]+", "-", " ".join(trial.requirements))
    place = folder / f"{name}-{'oldest' if trial.is_oldest else 'newest'}"
    inside = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    python = place.joinpath(*inside)
    run(sys.executable, "-m", "venv", "--clear", str(place))
    own = run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(own, "behind.pth").write_text(f"{sysconfig.get_path('purelib')}\n", "utf-8")
    constraints = place / "constraints.txt"
    constraints.write_text(f"torch=={version('torch')}\n", "utf-8")  # never another one
    run(
        str(python),
        "-m",
        "pip",
        "install",
        "-q",
        "--upgrade",
        "-c",
        str(constraints),
        *trial.requirements,
    )
    return python


def run(*words: str) -> str:
    """Run a program and return what it printed.

    Raises:
        TrialFailed: It failed.
    """
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip() or ended.stdout.strip()).splitlines()[-1:]
        raise TrialFailed(f"{' '.join(words[1:4])} failed: {''.join(last)}")
    return ended.stdout


def counted(output: str) -> dict[str, int]:
    """Return how many tests passed, failed and so on, from what pytest printed last."""
    lines = [each for each in output.splitlines() if re.search(r" in [\d.]+s", each)]
    found = re.findall(r"(\d+) ([a-z]+)", lines[-1] if lines else "")
    return {name.rstrip("s") if name == "errors" else name: int(number) for number, name in found}


def line(*cells: str) -> str:
    """Return a line of a table, as a page has it."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
