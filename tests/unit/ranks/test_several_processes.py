"""Several processes train one run: killed, stopped and begun again they end as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from support.ranked_training import ended, ranks
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.read import Checkpoint
from unbroken.cli.main import main as command
from unbroken.errors import CheckpointCorrupt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A training of three ranks that nobody stopped: its directory, and what each rank ends with."""
    place = tmp_path_factory.mktemp("whole")
    return place, ended(ranks(3, place))


def verdicts(place: Path, rank: int) -> list[str]:
    """Return what the replays of one rank came to, start by start."""
    root = place if rank == 0 else place / "ranks" / f"rank-{rank:05d}"
    lines = (root / "history.jsonl").read_text(encoding="utf-8").splitlines()
    told = [json.loads(each) for each in lines]
    return [each["verdict"] for each in told if each["event"] == "replay"]


def test_a_killed_rank_ends_all_and_the_next_start_is_exact(
    whole: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """With three ranks the order of a sum matters: that of the gradients is kept too.

    The run finds the wrapper by itself, where it was given the model inside of it.
    """
    for each in ("die=2@8", "die=0@3"):
        stopped = ranks(3, tmp_path, each, "bare=1")
        died = int(each[4])
        assert stopped[died].returncode == -9
        others = [one for rank, one in enumerate(stopped) if rank != died]
        assert all(one.returncode not in (0, -9) for one in others)
        assert all("another rank ended" in one.stderr for one in others)
    again = ranks(3, tmp_path, "bare=1")
    assert ended(again) == whole[1]
    assert [set(verdicts(tmp_path, rank)) for rank in range(3)] == [{"EXACT"}] * 3


def test_a_stop_that_one_rank_hears_stops_all_at_one_step(
    whole: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """The rank that got the signal tells the others; each ends with the code of a stop."""
    stopped = ranks(3, tmp_path, "stop=1@4")
    assert [each.returncode for each in stopped] == [75] * 3
    assert "Stopped by a request to rank 1; saved as step-00000004" in stopped[0].stderr
    assert stopped[2].stderr == ""  # the first rank tells it for all
    assert ended(ranks(3, tmp_path)) == whole[1]


def test_a_checkpoint_holds_once_what_all_ranks_share(whole: tuple[Path, list[str]]) -> None:
    """Statistics of a rank's own batches are its own; weights and moments are stored by the first."""
    layout = Layout(whole[0])
    newest = Checkpoint.at(layout.checkpoints / layout.latest.read_text().strip())
    assert newest.ranks == 3
    own = newest.of_rank(2)
    assert set(own.manifest.leaves) == {"model.1.running_mean", "model.1.running_var"}
    assert set(own.leaves) == set(newest.leaves)
    assert own.part("optimizer")["state"].keys() == newest.part("optimizer")["state"].keys()


@pytest.mark.parametrize(
    "lost", ["rank-00002", "rank-00001/state.json", "rank-00002/manifest.json"]
)
def test_what_one_rank_saved_is_part_of_the_checkpoint(
    whole: tuple[Path, list[str]], tmp_path: Path, lost: str
) -> None:
    """Where it is damaged or gone, the whole checkpoint is."""
    place = tmp_path / "run"
    shutil.copytree(whole[0], place)
    newest = Checkpoint.at(max(Layout(place).checkpoints.iterdir()))
    newest.verify()
    path = newest.path / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(CheckpointCorrupt):
        newest.verify()


def test_the_commands_read_it(
    whole: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify`, `inspect` and `diff` take a checkpoint of several ranks, and one rank's part of it."""
    newest = max(Layout(whole[0]).checkpoints.iterdir())
    assert command(["verify", str(whole[0])]) == 0
    assert command(["inspect", str(newest)]) == 0
    assert "3 processes" in capsys.readouterr().out
    assert command(["inspect", str(newest / "rank-00001")]) == 0
    assert command(["diff", str(newest), str(newest / "rank-00001")]) == 3
    assert "model.1.running_mean" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("directory=1@elsewhere", "Rank 1 has the directory"),
        ("rate=1@0.02", "optimizer.groups.0.lr: 0.02, on rank 0 0.01"),
        ("break=1@2", "rank 1 stands at batch 1 of epoch 1, rank 0 at batch 3"),
        ("drift=1@2", "Rank 1 has drifted apart from rank 0 at step 2"),
        ("leave=1@2", "Rank 1 has drifted apart from rank 0 at step 2"),
    ],
)
def test_ranks_that_are_not_alike_are_named(tmp_path: Path, option: str, said: str) -> None:
    """At the start, or at the step where it is seen; no rank trains on, and nothing is saved."""
    every = ranks(2, tmp_path, option)
    assert all(each.returncode != 0 for each in every)
    assert any(said in each.stderr for each in every)
    assert not list(tmp_path.glob("checkpoints/step-*"))


def test_another_number_of_processes_is_refused(
    whole: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """Before anything is changed, by every rank."""
    place = tmp_path / "run"
    shutil.copytree(whole[0], place)
    before = sorted(str(each) for each in place.rglob("*"))
    every = ranks(2, place, "epochs=3")
    assert any("was saved by 3 processes; 2 are started now" in each.stderr for each in every)
    assert before == sorted(str(each) for each in place.rglob("*"))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_save_that_fails_on_one_rank_fails_on_all_and_the_next_succeeds(
    whole: tuple[Path, list[str]], tmp_path: Path, rank: int
) -> None:
    """Nothing of it becomes visible, no rank waits for another, and the training is what it was."""
    every = ranks(3, tmp_path, f"fail={rank}@2")
    assert ended(every) == whole[1]
    assert "SAVE FAILED" in every[0].stderr
    for each in Layout(tmp_path).checkpoints.iterdir():
        Checkpoint.at(each).verify()
