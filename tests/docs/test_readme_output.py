"""The README shows what its example prints, word for word."""

from __future__ import annotations

import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from support import preloaded

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
KILLED, REFUSED = re.findall(r"```console\n(.*?)```", README, re.DOTALL)

UPDATE = "        optimizer.zero_grad()\n"
DYING = CODE.replace(
    UPDATE,
    f"{UPDATE}"
    "        if run.position.step == 25:\n"
    "            import os\n"
    "            while not os.path.isdir('out/checkpoints/step-00000020'):\n"
    "                pass\n"
    "            os.kill(os.getpid(), 9)\n",
)
UNSHUFFLED = CODE.replace("shuffle=True", "shuffle=False")


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an example that was killed after 25 batches, its last checkpoint of step 20."""
    directory = tmp_path_factory.mktemp("killed")
    assert -signal.SIGKILL == preloaded.run_code(DYING, cwd=directory).returncode
    return directory


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(killed_once, tmp_path / "killed"))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX: runs on Linux and macOS")
def test_a_killed_example_prints_what_the_readme_shows(killed: Path) -> None:
    """What the resume came to and the line of the replay, and nothing else."""
    resumed = preloaded.run_code(CODE, cwd=killed)
    assert KILLED.splitlines()[4:] == (resumed.stdout + resumed.stderr).splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX: runs on Linux and macOS")
def test_a_refused_example_prints_what_the_readme_shows(killed: Path) -> None:
    """The error and its whole report; of the traceback only its first line."""
    refused = preloaded.run_code(UNSHUFFLED, cwd=killed)
    shown = REFUSED.splitlines()[1:]
    printed = refused.stderr.splitlines()
    assert [shown[0], "  ..."] == [printed[0], shown[1]]
    assert shown[2:] == printed[2 - len(shown) :]
