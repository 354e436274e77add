"""`unbroken inspect RUN` says how a run stands, and `RUN/latest` is its newest checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.preloaded import run_code
from support.toy_training import build, train
from unbroken.cli.main import main
from unbroken.errors import Stopped


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the program; what it prints."""

    def run(*words: object) -> str:
        assert 0 == main([str(each) for each in words])
        return capsys.readouterr().out

    return run


def trained(directory: Path, until: int) -> None:
    """Train a run, saved every two steps."""
    training = build(directory, save_every=2, keep=9)
    train(training, until)
    training.run.close()


def test_a_run_that_came_to_its_end(tmp_path: Path, shown: Callable[..., str]) -> None:
    """Which run, since when, how many checkpoints, how far, and that it is finished."""
    trained(tmp_path, 6)
    run, state, checkpoints, _, *rest = shown("inspect", tmp_path).splitlines()
    run_id = json.loads((tmp_path / "run.json").read_text("utf-8"))["run_id"]
    assert run.startswith(f"run            {run_id}, begun 20")
    assert run.endswith(" UTC, 1 start")
    assert "state          finished at step 6" == state
    assert "checkpoints    3, the newest of step 6" == checkpoints
    assert 3 == len(rest)
    said = json.loads(shown("inspect", "--json", tmp_path))["run"]
    assert (run_id, 1, 3, 6, 6) == (
        said["run_id"], said["starts"], said["checkpoints"], said["newest_step"], said["last_step"]
    )  # fmt: skip


def test_one_that_was_stopped(tmp_path: Path, shown: Callable[..., str]) -> None:
    """With the reason, as the history has it."""
    training = build(tmp_path, save_every=2, keep=9)
    training.run.stop.ask("the test asks")
    with pytest.raises(Stopped):
        train(training, 6)
    training.run.close()
    assert "state          stopped at step " in shown("inspect", tmp_path)
    assert "(the test asks); the next start goes on" in shown("inspect", tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_one_that_was_killed(tmp_path: Path, shown: Callable[..., str]) -> None:
    """It noted no end, and its journal is ahead of its newest checkpoint."""
    code = f"""
import os, signal
from pathlib import Path
from support.toy_training import build, train
training = build(Path({str(tmp_path)!r}), save_every=0)
train(training, 3)
train(training, 9, lambda here: here.step == 5 and os.kill(os.getpid(), signal.SIGKILL))
"""
    assert -signal.SIGKILL == run_code(code).returncode
    state, checkpoints = shown("inspect", tmp_path).splitlines()[1:3]
    assert (
        "state          the last start noted no end, as after a kill; the next one goes on" == state
    )
    assert "checkpoints    1, the newest of step 3; the journal has 2 steps more" == checkpoints


def test_latest_is_the_newest_checkpoint(tmp_path: Path, shown: Callable[..., str]) -> None:
    """Wherever a checkpoint is named; also where the hint of that name was deleted."""
    trained(tmp_path, 6)
    newest, latest = tmp_path / "checkpoints" / "step-00000006", tmp_path / "latest"
    assert shown("inspect", newest) == shown("inspect", latest)
    assert f"whole      {newest}" in shown("verify", latest)
    assert "0 of " in shown("diff", latest, newest)
    assert f"pinned  {newest}\n" == shown("pin", latest)
    assert "Nothing to repair." in shown("repair", latest, "position", "--dry-run")
    latest.unlink()
    assert shown("inspect", newest) == shown("inspect", latest)


def test_latest_where_there_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No checkpoint is invented."""
    assert 4 == main(["inspect", str(tmp_path / "latest")])
    assert f"{tmp_path} is neither a checkpoint nor" in capsys.readouterr().err


def test_one_that_a_process_writes_to(tmp_path: Path, shown: Callable[..., str]) -> None:
    """The process is named, whatever the history says of the start before."""
    trained(tmp_path, 2)
    code = (
        "import sys; from pathlib import Path; from unbroken.checkpoint.layout import Layout\n"
        "from unbroken.checkpoint.lock import WriterLock\n"
        "WriterLock(Layout(Path(sys.argv[1]))).take(); print('held', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as holder:  # fmt: skip
        assert holder.stdout
        assert holder.stdin
        holder.stdout.readline()
        said = shown("inspect", tmp_path)
        holder.stdin.close()
    assert f"state          in use by process {holder.pid} on " in said
