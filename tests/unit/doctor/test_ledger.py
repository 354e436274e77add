"""The ledger of a run whose journal was written without a training: kills and planted faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.written_ledger import WrittenLedger, step_batches
from unbroken.checkpoint.layout import Layout
from unbroken.doctor.ledger import Ledger, examine_ledger
from unbroken.order.sample_sum import sample_sum, sum_text
from unbroken.order.step_batches import StepBatches, sample_digest

KILLS = st.lists(st.tuples(st.integers(1, 14), st.integers(1, 5)), max_size=5)
"""For each start that is killed: the steps that it completes, and after how many it saves."""


def examined(written: WrittenLedger) -> Ledger:
    """Return the ledger of what was written."""
    with TemporaryDirectory() as place:
        found = examine_ledger(Layout(written.write(Path(place))))
    assert found is not None
    return found


def killed(
    order: StepBatches, kills: list[tuple[int, int]], last: int, **kind: Any
) -> WrittenLedger:
    """Write a run that is killed again and again, and ends after `last` steps more."""
    written, begin = WrittenLedger(**kind), 0
    for steps, save_every in kills:
        written.start(order, begin, steps)
        begin = max(begin, (begin + steps) // save_every * save_every)
    written.start(order, begin, last)
    return written


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 23), st.integers(1, 7), KILLS, st.integers(1, 30))
def test_any_schedule_of_kills_is_proved(
    samples: int, batch: int, kills: list[tuple[int, int]], last: int
) -> None:
    """It says of every epoch what counting the samples says, and finds no fault."""
    written = killed(step_batches(samples, batch), kills, last)
    found = examined(written)
    assert ("proved", []) == (found.outcome, found.faults)
    counts = written.epochs()
    assert list(counts) == [each.number for each in found.epochs]
    for each in found.epochs:
        count = counts[each.number]
        assert count.total() == each.samples
        is_whole = len(count) == samples and set(count.values()) == {1}
        assert ("proved" if is_whole else "open") == each.standing
    assert len(written.used) == found.steps
    assert len(written.journal) - len({each["step"] for each in written.journal}) == found.repeated


def drop_a_line(written: WrittenLedger, at: int) -> None:
    """Lose a line."""
    del written.journal[at]


def double_a_line(written: WrittenLedger, at: int) -> None:
    """Have a line twice."""
    written.journal.insert(at, written.journal[at])


def use_others(written: WrittenLedger, at: int) -> None:
    """Use a sample that is none of the epoch's."""
    others = step_batches(100, 1).ids[99 - written.journal[at]["samples"] : 99]
    written.journal[at] |= _uses(others)


def use_the_step_before(written: WrittenLedger, at: int) -> None:
    """Use the samples of the step before once more."""
    for name in ("samples", "sample_digest", "sample_sum"):
        step = written.journal[at]["step"]
        before = [each for each in written.journal[:at] if each["step"] == step - 1]
        written.journal[at][name] = before[-1][name]


def leave_out_a_step(written: WrittenLedger, at: int) -> None:
    """Leave out the samples of a step, and count on as if nothing were missing."""
    del written.journal[at]
    for each in written.journal[at:]:
        each["step"] -= 1
    for each in written.history:
        each["step"] -= each.get("step", 0) > at


def _uses(ids: Sequence[str]) -> dict[str, Any]:
    return {"sample_digest": sample_digest(ids), "sample_sum": sum_text(sample_sum(ids))}


FAULTS = [drop_a_line, double_a_line, use_others, use_the_step_before, leave_out_a_step]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FAULTS), st.integers(1, 11), st.integers(1, 14), st.integers(1, 5))
def test_any_planted_fault_is_found(
    fault: Callable[[WrittenLedger, int], None], at: int, steps: int, save_every: int
) -> None:
    """In its epoch, wherever it is, and whenever the run was killed before and after."""
    order = step_batches(17, 3)  # six steps an epoch
    written = killed(order, [(steps, save_every)], 30)
    of_path = {(each["step"], each["start"]): i for i, each in enumerate(written.journal)}
    step = at if at % 6 else at + 1  # with one before it in its epoch
    at = max(i for (number, _), i in of_path.items() if number == step + 1)
    epoch = written.journal[at]["epoch"]
    fault(written, at)
    found = examined(written)
    assert "broken" == found.outcome
    assert epoch in {each.epoch for each in found.faults}
    assert f"epoch {found.faults[0].epoch}, step {found.faults[0].step:,}" in found.sentence


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (drop_a_line, "gap", "step 9 has no line in the journal"),
        (double_a_line, "repeat", "step 9 stands in the journal again, of start 1"),
        (use_others, "other samples", "epoch 1 used 17 samples, but not those of its order's list"),
        (use_the_step_before, "repeat", "step 9 used the same samples as step 8 of the same epoch"),
        (leave_out_a_step, "gap", "epoch 1 used 14 samples; its order's list has 17"),
    ],
)
def test_what_was_planted_is_said(
    fault: Callable[[WrittenLedger, int], None], kind: str, said: str
) -> None:
    """Each kind of fault has its words, with the step where it is known."""
    written = killed(step_batches(17, 3), [], 30)
    fault(written, 8)
    found = examined(written).faults[0]
    assert (kind, 1) == (found.kind, found.epoch)
    assert said in found.sentence


def test_a_resume_that_shuffles_anew_is_found_where_it_went_on() -> None:
    """Its order contradicts the steps before it, though the epoch isn't over."""
    written = WrittenLedger()
    written.start(step_batches(17, 3), 0, 9)
    written.start(step_batches(17, 3, seed=4), 8, 2)
    found = examined(written)
    assert "broken" == found.outcome
    sentence = "start 2 went on at step 9 as if after other samples than the steps before it used"
    assert sentence in [each.sentence for each in found.faults]
    assert (1, 9) in {(each.epoch, each.step) for each in found.faults}
    assert "start 2 repeated step 9 with other samples than start 1 had used" in [
        each.sentence for each in found.faults
    ]


def test_a_resume_that_skips_a_batch_is_found_where_it_went_on() -> None:
    """It goes on as if after more samples than were used."""
    written, order = WrittenLedger(), step_batches(17, 3)
    written.start(order, 0, 8)
    written.places[8] = order.after(written.places[8])
    written.places[8].step = 8
    written.start(order, 8, 2)
    [fault] = examined(written).faults
    assert ("gap", 1, 9) == fault[:3]
    assert "as if after 9 samples of the epoch, and the steps before it used 6" in fault.sentence


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ([0, 0, 2, 2], "epoch 1 has no step"),
        ([0, 0, 0, 0], "epoch 0 was over after step 2, and goes on after it"),
        ([0, 0, 1, 0], "epoch 0 comes again at step 4, after epoch 1"),
    ],
)
def test_epochs_follow_one_another(epochs: list[int], said: str) -> None:
    """None is skipped, none goes on after its end, none comes back."""
    written = killed(step_batches(6, 3), [], 4)
    for line, epoch in zip(written.journal, epochs, strict=True):
        line["epoch"] = epoch
    assert said in " ".join(each.sentence for each in examined(written).faults)


def test_an_epoch_that_the_loop_left_is_told_and_one_that_just_stops_is_a_gap() -> None:
    """The history says that the loop wanted it."""
    written = killed(step_batches(9, 3), [], 2)
    written.places[2].epoch, written.places[2].batch = 1, 0
    written.start(step_batches(9, 3), 2, 3)
    assert "stops after step 2, before its order's end" in examined(written).sentence
    written.history.append({"event": "epoch left", "start": 1, "epoch": 0, "step": 2})
    found = examined(written)
    assert "proved" == found.outcome
    assert "left early by the loop; no repeat and no gap before" == found.epochs[0].verdict


def test_a_journal_without_sums_says_what_it_can_prove() -> None:
    """Counts and continuity are proved, and it isn't called more."""
    written = killed(step_batches(17, 3), [(8, 2)], 14, has_sums=False)
    found = examined(written)
    assert "not proved" == found.outcome
    assert "its lines have no sums of the samples" in found.sentence
    written.journal[13]["sample_digest"] = written.journal[12]["sample_digest"]
    assert "used the same samples as step" in examined(written).sentence


def test_a_run_that_goes_on_in_another_directory_is_proved_from_there() -> None:
    """Its order says what was used before; where nothing does, the epoch is not called proved."""
    written, order = WrittenLedger(), step_batches(17, 3)
    written.start(order, 0, 8)
    written.journal.clear()
    written.history.clear()
    written.start(order, 8, 8)
    found = examined(written)
    assert ("proved", 17, "each once") == (
        found.outcome,
        found.epochs[0].samples,
        found.epochs[0].verdict,
    )
    assert "the journal begins after step 8; it tells nothing of those before" in found.notes
    written.history = [each for each in written.history if each["event"] == "start"]
    found = examined(written)
    assert "not proved: begun elsewhere" == found.epochs[0].verdict
    assert "its beginning is not in this directory" in found.sentence


def test_a_start_that_was_stopped_as_another_training_counts_for_nothing() -> None:
    """What its repeated steps used is told, and the steps before it stand."""
    written, order = WrittenLedger(), step_batches(17, 3)
    written.start(order, 0, 10)
    written.start(step_batches(17, 3, seed=4), 8, 1)
    written.history.append({"event": "diverged", "start": 2, "step": 9, "continued": False})
    found = examined(written)
    assert ("proved", 10) == (found.outcome, found.steps)
    assert "start 2 was stopped when it repeated step 9 with other samples" in found.notes[0]
    written.places[10] = order.after(order.after(written.places[8]))
    written.start(order, 8, 20)
    found = examined(written)
    assert "proved" == found.outcome
    assert [1, 3] == found.epochs[1].starts
