"""Any number of processes train the steps of one run: stopped on some, it goes on with others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.ranked_training import SAMPLES, ended, ranks
from unbroken.cli.main import main as command
from unbroken.order.share import Share

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

counts = st.integers(1, 9)


@given(
    done=st.integers(0, 40), left=st.integers(1, 60), size=st.integers(1, 70), count=counts
)  # fmt: skip
def test_shares_hold_each_sample_once(done: int, left: int, size: int, count: int) -> None:
    """Whatever is left of a step, and however many processes there are."""
    every = [Share(rank=rank, count=count) for rank in range(count)]
    shares = [each.of(done, done + left, size) for each in every]
    taken = [each for begin, end in shares for each in range(begin, end)]
    assert taken == list(range(done, done + left))


@given(left=st.integers(1, 60), size=st.integers(1, 20), count=counts)
def test_shares_begin_where_one_process_begins_a_micro_batch(
    left: int, size: int, count: int
) -> None:
    """So each micro-batch is the same, dropout and all, wherever it is trained; short steps too."""
    whole = size * count
    for rank in range(count):
        share = Share(rank=rank, count=count)
        begin, end = share.of(0, left, size)
        assert share.cut(size, whole) == size
        assert begin % size == 0 or begin == end == left


def lines(place: Path) -> dict[int, dict[str, object]]:
    """Return the journal's last line of each step."""
    text = (place / "journal.jsonl").read_text(encoding="utf-8")
    found = [json.loads(each) for each in text.splitlines()]
    return {each["step"]: each for each in found}


def test_moved_and_killed_it_has_the_samples_and_losses_of_one_that_was_not(tmp_path: Path) -> None:
    """One process, then three, then two, then one; killed each time. Dropout is the same on all."""
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    assert ended(ranks(1, whole, "steps=16", "dropout=0.2"))
    for count, killed in ((1, "die=0@4"), (3, "die=1@8"), (2, "die=1@11")):
        ranks(count, moved, "steps=16", "dropout=0.2", killed)
    last = ranks(1, moved, "steps=16", "dropout=0.2")
    assert last[0].stdout.split()[0] in {"EXACT", "EQUIVALENT"}, last[0].stderr
    a, b = lines(whole), lines(moved)
    assert a.keys() == b.keys() == set(range(1, 17))
    for step, line in a.items():
        assert b[step]["sample_digest"] == line["sample_digest"]
        assert b[step]["lr"] == line["lr"]
        torch.testing.assert_close(b[step]["loss"], line["loss"], rtol=1e-5, atol=0)
    assert command(["verify", "--ledger", str(moved)]) == 0  # each sample once, whoever trained it


def test_as_many_processes_end_with_the_same_bits(tmp_path: Path) -> None:
    """Three ranks, of which one has a smaller share; killed and begun again."""
    words = ("steps=10", "dropout=0.2")
    whole = ended(ranks(3, tmp_path / "whole", *words))
    assert len(set(whole)) == 1  # all ranks end alike
    ranks(3, tmp_path / "killed", *words, "die=1@5")
    again = ranks(3, tmp_path / "killed", *words)
    assert ended(again) == whole
    assert all(each.stdout.startswith("EXACT") for each in again)


def test_a_rank_without_samples_makes_the_same_updates(tmp_path: Path) -> None:
    """More processes than samples in the last step of an epoch, or than micro-batches."""
    assert SAMPLES % 12 == 0
    alone = ranks(1, tmp_path / "alone", "steps=4", "size=0@12")
    many = ranks(5, tmp_path / "many", "steps=4")
    assert len(set(ended(many))) == 1
    losses = [
        [line["loss"] for line in lines(tmp_path / each).values()] for each in ("alone", "many")
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)
    assert ended(alone)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("seed=1@6", "Rank 1 begins with other weights than rank 0"),
        ("drift=1@2", "Rank 1 has drifted apart from rank 0 at step 3"),
        ("norm=1", "1 is a batch norm, and the run divides its steps"),
        ("size=1@5", "The ranks trained the samples 0 to 6, 5 to 12 of a step with 12"),
    ],
)
def test_ranks_that_would_train_otherwise_are_refused(
    tmp_path: Path, option: str, said: str
) -> None:
    """Other weights, other shares: found before an update."""
    every = ranks(2, tmp_path, "steps=4", option)
    assert all(each.returncode not in (0, -9) for each in every)
    assert any(said in each.stderr for each in every), every[1].stderr


def test_a_run_that_was_stopped_inside_a_step_goes_on_with_several(tmp_path: Path) -> None:
    """What the one process gathered before counts once; the rest of the step is divided."""
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    ended(ranks(1, whole, "steps=6"))
    stopped = ranks(1, moved, "steps=6", "inside=0@5")
    assert stopped[0].returncode == 75, stopped[0].stderr
    assert list(moved.glob("checkpoints/step-*+6"))
    assert ended(ranks(2, moved, "steps=6"))
    losses = [[line["loss"] for line in lines(each).values()] for each in (whole, moved)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)


@pytest.mark.parametrize("dropout", ["0", "0.2"])
def test_with_virtual_devices_any_number_of_processes_has_the_same_bits(
    tmp_path: Path, dropout: str
) -> None:
    """One, two, three and four; and one run that goes from four to one to three, killed each time."""
    words = ("steps=11", "virtual=4", f"dropout={dropout}")
    found = {count: ended(ranks(count, tmp_path / str(count), *words)) for count in (1, 2, 3, 4)}
    assert len({each for every in found.values() for each in every}) == 1
    for count, killed in ((4, "die=3@4"), (1, "die=0@8")):
        ranks(count, tmp_path / "moved", *words, killed)
    moved = ranks(3, tmp_path / "moved", *words)
    assert moved[0].stdout.startswith("EXACT"), moved[0].stdout
    assert ended(moved) == found[3]


def test_other_virtual_devices_are_another_run(tmp_path: Path) -> None:
    """Their number decides how every step is rounded."""
    assert ended(ranks(1, tmp_path, "steps=4", "virtual=4"))
    other = ranks(1, tmp_path, "steps=6", "virtual=3")
    assert other[0].returncode == 1
    assert "virtual_devices" in other[0].stderr


def test_what_is_done_of_a_step_is_not_given_out_again(tmp_path: Path) -> None:
    """A second loop over the micro-batches of a step has nothing left, on any rank."""
    once, twice = (
        ranks(2, tmp_path / "once", "steps=4"),
        ranks(2, tmp_path / "twice", "steps=4", "again=1"),
    )
    assert ended(once) == ended(twice)
