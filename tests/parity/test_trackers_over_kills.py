"""Real processes, killed and started again: a tracker shows what it shows of a run that nobody stopped."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.shown_by_trackers import READERS, Points, read_shown
from support.tiny_trainer import environment
from support.tracked_training import EPOCHS, STEPS, train

INSTALLED = [kind for kind in READERS if importlib.util.find_spec(kind)]
KILLS = [("11", "batch"), ("16", "work")]
"""Each a little after a save; the second one before the score of an epoch is anywhere."""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def start(directory: Path, death: str = "0", at: str = "batch") -> int:
    """Train with every tracker that is installed, in a process; return its exit code."""
    code = "from support.tracked_training import main; import sys; main(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory), ",".join(INSTALLED), death, at],
        env={**environment(), "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=120, cwd=directory,
    )  # fmt: skip
    assert "TRACKER LEFT OUT" not in done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run that nobody stopped is shown."""
    directory = tmp_path_factory.mktemp("whole")
    assert 0 == start(directory)
    return directory / "shown"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run is shown that was killed twice."""
    directory = tmp_path_factory.mktemp("killed")
    for death, at in KILLS:
        assert -9 == start(directory, death, at)
    assert 0 == start(directory)
    return directory / "shown"


@pytest.mark.filterwarnings("ignore::FutureWarning:mlflow")
@pytest.mark.parametrize("kind", READERS)
def test_one_run_and_each_step_once_with_the_same_values(
    kind: str, whole: Path, killed: Path
) -> None:
    """Also what a tracker had only in memory when the process died, and the scores of epochs.

    The run is not closed by the program: the last row comes when the program ends.
    """
    pytest.importorskip(kind)
    expected: Points = read_shown(kind, whole)
    assert list(range(1, STEPS + 1)) == [step for step, _ in expected["train/loss"]]
    assert EPOCHS == len(expected["val_loss"])
    assert expected == read_shown(kind, killed)


def test_no_tracker_moves_the_training(whole: Path, tmp_path: Path) -> None:
    """None draws from the generators in which the steps draw: without them the journal is the same."""
    train(tmp_path, [])
    assert journal(tmp_path) == journal(whole.parent / "run")


def journal(directory: Path) -> list[dict[str, object]]:
    """Return the lines of a run's journal."""
    return [json.loads(each) for each in (directory / "journal.jsonl").read_text().splitlines()]


def test_without_a_login_wandb_is_left_out(tmp_path: Path) -> None:
    """Nobody is asked at the terminal, nothing is sent, and the training ends as it does without."""
    pytest.importorskip("wandb")
    code = (
        "import sys, unbroken; from pathlib import Path; from support.tracked_training import train;"
        "train(Path(sys.argv[1]), [unbroken.tracker('wandb', dir=sys.argv[1])])"
    )
    kept = {name: each for name, each in environment().items() if not name.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={
            **kept, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1",
            "HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc"), "WANDB_CONFIG_DIR": str(tmp_path),
        },
        capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    assert 1 == done.stderr.count("TRACKER LEFT OUT")
    assert "Run `wandb login` once, or set WANDB_MODE=offline" in done.stderr
    assert STEPS == journal(tmp_path)[-1]["step"]
