"""The trainer under torchrun: any number of processes train one run, and it may change at every start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from support.ranked_trainer import train
from support.tiny_trainer import TinyTrainer, journal, require_equal, write_tiny_trainer
from unbroken.cli.main import main as command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    """The files of a tiny training."""
    return write_tiny_trainer(tmp_path_factory.mktemp("trainer"))


def test_moved_between_one_three_and_two_processes_it_is_the_same_training(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """Killed each time: the samples, rates and losses of every step are those of one process."""
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    assert train(trainer, 1, whole)[0].returncode == 0
    assert train(trainer, 1, moved, event="journal:6")[0].returncode == -9
    killed = train(trainer, 3, moved, event="journal:11", on=2)
    assert killed[2].returncode == -9, killed[2].stderr
    assert {each.returncode for each in killed[:2]} <= {5, 7}, killed[0].stderr  # 5: it was saving
    last = train(trainer, 2, moved)
    assert [each.returncode for each in last] == [0, 0], last[0].stderr
    assert "Processes: 2, each with a share of the 9 samples of a step" in last[0].stdout
    assert "EQUIVALENT" in last[0].stdout
    assert last[1].stdout == ""  # the first process prints for all
    a, b = journal(whole), journal(moved)
    assert a.keys() == b.keys()
    for step, line in a.items():
        for name in ("sample_digest", "lr", "updates", "micro_batch"):
            assert b[step][name] == line[name], (step, name)
        for name in ("loss", "text_loss", "mel_loss"):
            torch.testing.assert_close(b[step][name], line[name], rtol=1e-4, atol=0)
    assert command(["verify", "--ledger", str(moved)]) == 0


def test_as_many_processes_go_on_exactly(trainer: TinyTrainer, tmp_path: Path) -> None:
    """Two processes, killed and begun again, end with the journal of two that nobody killed."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(trainer, 2, whole)[0].returncode == 0
    assert train(trainer, 2, killed, event="journal:10", on=1)[1].returncode == -9
    again = train(trainer, 2, killed)
    assert again[0].returncode == 0, again[0].stderr
    assert "[Replay] EXACT" in again[0].stdout
    assert journal(whole) == journal(killed)


def test_what_needs_one_process_is_refused(trainer: TinyTrainer, tmp_path: Path) -> None:
    """The earlier weighting depends on the cut; nothing is written."""
    every = train(trainer, 2, tmp_path / "out", "--loss-weighting", "legacy")
    assert [each.returncode for each in every] == [2, 2]
    assert "--loss-weighting legacy was given, and 2 processes train" in every[0].stderr
    assert not (tmp_path / "out").exists()


def test_with_virtual_devices_the_number_of_processes_changes_no_bit(
    trainer: TinyTrainer, tmp_path: Path
) -> None:
    """One process; and a run that goes from two processes to one, killed in between."""
    whole, moved, exact = tmp_path / "whole", tmp_path / "moved", ("--exact-across-devices", "3")
    assert train(trainer, 1, whole, *exact)[0].returncode == 0
    assert train(trainer, 2, moved, *exact, event="journal:10", on=1)[1].returncode == -9
    last = train(trainer, 1, moved, *exact)
    assert last[0].returncode == 0, last[0].stderr
    assert "[Replay] EXACT" in last[0].stdout
    assert "Batch size: 3 (--exact-across-devices)" in last[0].stdout
    require_equal(whole, moved)
