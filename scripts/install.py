"""Make a virtual environment and install the pinned dependencies and this project into it.

Usage: python3 scripts/install.py [FOLDER]

Needs nothing but Python itself. On a machine without an NVIDIA card it asks for the CPU build of
PyTorch first, which is far smaller; where pip finds none it takes the ordinary one and says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
OLDEST_PYTHON = (3, 11)

PLAIN_TORCH_NOTE = """\
note: pip found no CPU build of PyTorch, so the ordinary one is installed.
      On Linux that may bring several GB of CUDA packages, which a machine without an NVIDIA card
      never uses. To avoid them set PIP_EXTRA_INDEX_URL (or PIP_FIND_LINKS) to PyTorch's CPU index,
      as PyTorch's "Get started" page gives it, delete .venv and run this again."""


class InstallFailed(Exception):
    """A step failed; the message says which and what to do."""


def main(arguments: list[str]) -> int:
    """Install into the folder named, `.venv` by default; return the exit code."""
    folder = ROOT / (arguments[0] if arguments else ".venv")
    try:
        check_python()
        python = make_environment(folder)
        install(python)
    except InstallFailed as error:
        print("error: " + str(error), file=sys.stderr)
        return 2
    print("Installed into " + str(folder.name) + ".")
    return 0


def check_python() -> None:
    """Refuse a Python that is too old, in words a too old Python can print."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(str(number) for number in sys.version_info[:3])
        raise InstallFailed(
            "this is Python " + found + " (" + sys.executable + "), but 3.11 or newer is needed.\n"
            "The project uses language features that older ones don't have.\n"
            "Install a newer Python, then: make setup PYTHON=python3.12"
        )


def make_environment(folder: Path) -> str:
    """Return the Python of the virtual environment in `folder`, making it if there is none."""
    inside = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    python = folder.joinpath(*inside)
    if not python.exists():
        print("Making " + str(folder.name) + " ...")
        done = subprocess.run([sys.executable, "-m", "venv", str(folder)], check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise InstallFailed(
                "Python could not make a virtual environment in " + str(folder) + ".\n"
                "Everything is installed there, so that nothing else on this machine changes.\n"
                "On Debian and Ubuntu install the package python3-venv; else see the lines above."
            )
    return str(python)


def install(python: str) -> None:
    """Install PyTorch, then the rest; a package that is already there costs nothing."""
    print("Installing the pinned dependencies (a few minutes the first time) ...", flush=True)
    pip(python, "setuptools")
    install_torch(python)
    # setuptools is there at its pinned version: no second, unpinned one for the build.
    pip(python, "--no-build-isolation", "-e", str(ROOT) + "[dev]")


def install_torch(python: str) -> None:
    """Install the build of PyTorch that fits this machine."""
    pinned = pinned_version("torch")
    if sys.platform == "linux" and not has_nvidia_card():
        if pip_succeeds(python, "torch==" + pinned + "+cpu"):
            return
        print(PLAIN_TORCH_NOTE, flush=True)
    elif sys.platform == "linux" and pip_succeeds(python, "torch===" + pinned):
        return  # three signs: not the CPU build, even where one can be had
    pip(python, "torch==" + pinned)


def has_nvidia_card() -> bool:
    """Return whether the NVIDIA driver is there and sees a card."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        done = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "GPU" in done.stdout


def pinned_version(package: str) -> str:
    """Return the version constraints.txt pins a package to."""
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if name == package:
            return version.strip()
    raise InstallFailed(
        "constraints.txt pins no version of " + package + ".\n"
        "Without it two installations would differ.\n"
        "Restore the file: git checkout constraints.txt"
    )


def pip(python: str, *words: str) -> None:
    """Run `pip install`, showing what it says only where it fails."""
    done = run_pip(python, *words)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise InstallFailed(
            "pip could not install: " + " ".join(words) + ".\n"
            "The lines above are what it said; without it the project can't run.\n"
            "Check the network (or the index pip is configured for) and run the same command again."
        )


def pip_succeeds(python: str, *words: str) -> bool:
    """Return whether `pip install` could do it."""
    return run_pip(python, *words).returncode == 0


def run_pip(python: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `pip install` under the constraints, quietly."""
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input"]
    return subprocess.run(
        [*command, "-c", str(CONSTRAINTS), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
