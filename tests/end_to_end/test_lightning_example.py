"""The example of a Lightning program, as a process of its own, killed and started again."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

EXAMPLE = Path(__file__).parents[2] / "examples" / "lightning_module.py"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def child(directory: Path, kill_at: int, out: Path) -> None:
    """Run the example; kill it in one of its batches."""
    example = runpy.run_path(str(EXAMPLE), run_name="example")
    train = example["Signs"].training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        if self.trainer.fit_loop.total_batch_idx == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return train(self, batch, batch_idx)

    example["Signs"].training_step = training_step
    with out.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        example["main"](str(directory))


def test_the_example_is_killed_and_goes_on_exactly(tmp_path: Path) -> None:
    """Killed in its second epoch and started again, the example prints the weights of one that ran through."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.lightning_fits", "torch._dynamo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
    codes = []
    for name, kill_at in (("whole", -1), ("killed", 27), ("killed", -1)):
        arguments = (tmp_path / name, kill_at, tmp_path / f"{name}.out")
        process = context.Process(target=child, args=arguments)
        process.start()
        process.join(120)
        codes.append(process.exitcode)
    assert [0, -signal.SIGKILL, 0] == codes
    whole, killed = (
        (tmp_path / f"{name}.out").read_text(encoding="utf-8").splitlines()
        for name in ("whole", "killed")
    )
    assert whole[-1].startswith("step 60, weights ")
    assert whole[-1] == killed[-1]
    assert any(line.startswith("[Replay] EXACT") for line in killed)


def test_each_line_that_the_library_needs_is_marked() -> None:
    """The example has two lines of ours: an import and a call."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert 2 == sum("# unbroken:" in line for line in lines)
    ours = [each for each in lines if "protect(" in each or "integrations.lightning import" in each]
    assert all("# unbroken:" in line for line in ours)
