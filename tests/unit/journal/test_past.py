"""What earlier starts left is read as it counts: whose lines, computed with what, given up or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unbroken.checkpoint.layout import Layout
from unbroken.journal.change import EnvironmentChange
from unbroken.journal.past import Past, read_past

ONE, TWO = ({"environment": {"threads": n}} for n in (1, 2))


def past_of(
    directory: Path, history: list[dict[str, Any]], lines: list[tuple[int, int]], step: int = 10
) -> Past:
    """Write a record, with the journal's lines as (start, step), and read it."""
    layout = Layout(directory)
    for path, each in (
        (layout.history, history),
        (layout.journal, [{"start": start, "step": n} for start, n in lines]),
    ):
        path.write_text("".join(json.dumps(line) + "\n" for line in each), encoding="utf-8")
    return read_past(layout, step, saved_by=1, facts=ONE, saved_facts=TWO)


def start(number: int, step: int, **told: Any) -> dict[str, Any]:
    return {"event": "start", "start": number, "step": step, "computed_with": ONE} | told


def whose(past: Past) -> dict[int, int]:
    return {step: each.line["start"] for step, each in past.beyond.items()}


def test_the_newest_line_of_a_step_counts(tmp_path: Path) -> None:
    """What was repeated before is compared with its last time."""
    lines = [(1, 10), (1, 11), (1, 12), (2, 11)]
    found = past_of(tmp_path, [start(1, 0), start(2, 10)], lines)
    assert {11: 2, 12: 1} == whose(found)
    assert [10] == [line["step"] for line in found.before]


def test_a_start_that_diverged_is_passed_over(tmp_path: Path) -> None:
    """Its lines are another training's."""
    history = [start(1, 0), start(2, 10), {"event": "diverged", "start": 2, "continued": False}]
    assert {11: 1, 12: 1} == whose(past_of(tmp_path, history, [(1, 11), (1, 12), (2, 11)]))


def test_what_another_training_left_behind_is_given_up(tmp_path: Path) -> None:
    """After a start in which a new value was accepted only its own lines count."""
    history = [start(1, 0), start(2, 10, checks={"taken": ["schedule-unchanged"]})]
    assert {11: 2} == whose(past_of(tmp_path, history, [(1, 11), (1, 12), (2, 11)]))


def test_another_place_of_the_files_gives_nothing_up(tmp_path: Path) -> None:
    """Facts that may change leave the training what it is."""
    history = [start(1, 0), start(2, 10, checks={"taken": ["other-facts-unchanged"]})]
    assert {11: 2, 12: 1} == whose(past_of(tmp_path, history, [(1, 11), (1, 12), (2, 11)]))


def test_each_line_is_judged_by_its_own_start(tmp_path: Path) -> None:
    """The environment of the start that wrote it, else that of the checkpoint."""
    history = [start(1, 0), start(2, 10, computed_with=TWO), start(3, 10, computed_with=None)]
    found = past_of(tmp_path, history, [(1, 13), (2, 12), (3, 11)])
    named = {step: [str(change) for change in each.changes] for step, each in found.beyond.items()}
    threads = ["environment.threads is 1, was 2"]
    assert {13: [], 12: threads, 11: threads} == named


def test_an_earlier_try_is_judged_by_what_the_checkpoint_descends_from(tmp_path: Path) -> None:
    """Where a checkpoint was made on other threads than the line, its bits may be others too."""
    layout = Layout(tmp_path)
    past_of(tmp_path, [start(1, 0), start(2, 5, computed_with=TWO)], [(1, 12), (2, 6)])
    found = read_past(layout, 10, saved_by=2, facts=ONE, saved_facts=TWO)
    assert ["environment.threads is 1, was 2"] == [str(c) for c in found.beyond[12].changes]


def test_the_pace_comes_from_saves_of_one_start(tmp_path: Path) -> None:
    """The time between two starts is nobody's pace."""
    saves = [
        {"event": "saved", "start": s, "checkpoint": f"step-{n:08d}", "time": float(t)}
        for s, n, t in ((1, 10, 0), (1, 20, 5), (2, 30, 900), (2, 40, 905))
    ]
    found = past_of(tmp_path, [start(1, 0), *saves], [])
    assert 0.5 == found.seconds_per_step


def test_starts_that_come_to_nothing_are_counted(tmp_path: Path) -> None:
    """Three starts in a row from here without one step look like a lack of memory."""
    history = [start(1, 0), *(start(n, 10) for n in (2, 3, 4))]
    assert 3 == past_of(tmp_path, history, [(1, 10)]).starts_without_a_step


def test_an_empty_record_tells_nothing(tmp_path: Path) -> None:
    """No file is no fault."""
    found = read_past(Layout(tmp_path), 0, saved_by=0, facts=ONE, saved_facts=ONE)
    assert ({}, [], None) == (found.beyond, found.before, found.seconds_per_step)


def test_a_step_behind_others_that_were_cut_otherwise_is_not_held_to_the_last_bit(
    tmp_path: Path,
) -> None:
    """Step 11 came from step 10 in micro-batches of 2; the checkpoint's step 10 was cut by 1."""
    layout = Layout(tmp_path)
    history = [start(1, 0), start(2, 9)]
    lines = [(1, 9, 2), (1, 10, 2), (1, 11, 2), (2, 10, 1), (2, 12, 1)]
    told = [{"start": by, "step": n, "micro_batch": cut} for by, n, cut in lines]
    for path, each in ((layout.history, history), (layout.journal, told)):
        path.write_text("".join(json.dumps(line) + "\n" for line in each), encoding="utf-8")
    found = read_past(layout, 10, saved_by=2, facts=ONE, saved_facts=ONE).beyond
    assert (EnvironmentChange("micro_batch", 2, 1),) == found[11].changes
    assert () == found[12].changes
