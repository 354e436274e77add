"""A stop reaches the whole process group; the loader's workers let it pass, and leave with the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import unbroken

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="needs process groups, which Linux and macOS have"
)

PROGRAM = """
import os, signal, sys
import torch
from torch.utils.data import DataLoader, TensorDataset
import unbroken

DATA = torch.ones(32, 4)

if __name__ == "__main__":
    model = torch.nn.Linear(4, 1)
    run = unbroken.Run(
        sys.argv[1],
        order=unbroken.StepBatches([f"s{i}" for i in range(32)], None, 4, 1),
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), 1e-3),
        save_every=0,
        stop_signals=["SIGUSR2"],
    )
    run.resume()
    batches = iter(DataLoader(TensorDataset(DATA), batch_size=4, num_workers=1, LOADER))
    next(batches)  # the worker is there
    try:
        for step in run.steps(8):
            if step.number == 2:
                for number in sys.argv[2:]:
                    os.killpg(os.getpgrp(), getattr(signal, number))
                for _ in range(4):  # more than a worker has read ahead
                    next(batches)
                print("the worker lives", flush=True)
            for micro in step.micro_batches(4):
                step.backward(model(DATA[list(micro.indices)]).square().mean())
            step.update()
    except unbroken.Stopped as stopped:
        EXIT(stopped.exit_code)
"""


def train(
    directory: Path, *signals: str, loader: str = "", leave: str = "os._exit"
) -> subprocess.CompletedProcess[str]:
    program = directory / "program.py"
    program.write_text(PROGRAM.replace("LOADER", loader).replace("EXIT", leave))
    return subprocess.run(
        [sys.executable, str(program), str(directory / "run"), *signals],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )


def test_a_stop_of_the_whole_group_is_saved(tmp_path: Path) -> None:
    """The workers go on reading after the signal, and the run saves."""
    ended = train(tmp_path, "SIGTERM")
    assert (75, "the worker lives\n") == (ended.returncode, ended.stdout), ended.stderr
    assert unbroken.find_checkpoint(tmp_path / "run").position.step == 2


def test_a_program_whose_loader_lives_comes_to_its_end(tmp_path: Path) -> None:
    """Python waits for its workers when it ends, and they let the signal pass that would end them."""
    ended = train(tmp_path, leave="sys.exit")
    assert (0, "the worker lives\n") == (ended.returncode, ended.stdout), ended.stderr


def test_spawned_workers_are_shielded_by_the_public_function(tmp_path: Path) -> None:
    """A worker that doesn't descend from the training process is given the function."""
    ended = train(
        tmp_path,
        "SIGUSR2",
        loader="multiprocessing_context='spawn', worker_init_fn=unbroken.ignore_stop_signals",
    )
    assert (75, "the worker lives\n") == (ended.returncode, ended.stdout), ended.stderr


def test_a_second_signal_ends_workers_too(tmp_path: Path) -> None:
    """Whoever asks twice has no process left behind: the group is empty when the training is gone."""
    program = tmp_path / "worker.py"
    program.write_text(
        "import os, signal, sys\n"
        "from unbroken import ignore_stop_signals\n"
        "ignore_stop_signals()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('once', flush=True)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.wait(300) in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        assert worker.stdout is not None
        assert worker.stdout.read() == "once\n"
