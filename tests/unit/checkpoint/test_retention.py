"""What may be deleted: a pure function, tried over every kind of list."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.toy_training import build, train
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.pins import read_pins, write_pins
from unbroken.checkpoint.retention import (
    CheckpointInfo,
    KeepBest,
    KeepEvery,
    KeepLast,
    KeepYounger,
    RetentionPolicy,
    plan,
)
from unbroken.errors import DataInvalid

METRICS = st.one_of(st.none(), st.floats(allow_nan=True))
POLICIES = st.lists(
    st.one_of(
        st.builds(KeepLast, st.integers(0, 5)),
        st.builds(KeepEvery, st.integers(0, 7)),
        st.builds(KeepBest, st.integers(0, 4)),
        st.builds(KeepYounger, st.floats(0, 100), st.just(100.0)),
    ),
    max_size=4,
)


@st.composite
def checkpoints(draw: st.DrawFn) -> list[CheckpointInfo]:
    steps = sorted(draw(st.sets(st.integers(0, 60), max_size=12)))
    return [
        CheckpointInfo(
            name=f"step-{step:08d}",
            step=step,
            is_inside=draw(st.booleans()),
            created=float(step),
            metric=draw(METRICS),
            is_pinned=draw(st.booleans()),
        )
        for step in steps
    ]


@given(checkpoints(), POLICIES)
def test_what_counts_is_never_deleted(
    found: list[CheckpointInfo], policies: list[RetentionPolicy]
) -> None:
    """The newest verified, the best and the pinned are in no plan, whatever the rules are."""
    names = [each.name for each in found]
    verified = names[-1] if names else None
    doomed = set(plan(found, policies, verified).deleted)
    assert doomed <= set(names[:-1])
    assert not doomed & {each.name for each in found if each.is_pinned}
    scored = [each for each in found if each.metric is not None and not math.isnan(each.metric)]
    if scored:
        best = min(scored, key=lambda each: each.metric or 0.0)
        assert best.name not in doomed


@given(checkpoints(), POLICIES, st.data())
def test_nothing_goes_that_is_not_older_than_a_verified_one(
    found: list[CheckpointInfo], policies: list[RetentionPolicy], data: st.DataObject
) -> None:
    """Only what is older than the newest verified one is deleted, and nothing where none is."""
    names = [each.name for each in found]
    verified = data.draw(st.sampled_from([None, "step-99999999", *names]))
    doomed = plan(found, policies, verified).deleted
    assert list(doomed) == [name for name in names if name in doomed]
    before = names[: names.index(verified)] if verified in names else []
    assert set(doomed) <= set(before)


@given(checkpoints(), POLICIES, POLICIES)
def test_rules_are_joined(
    found: list[CheckpointInfo], some: list[RetentionPolicy], more: list[RetentionPolicy]
) -> None:
    """A further rule only ever keeps more, and what a rule names stays with its reason."""
    verified = found[-1].name if found else None
    both = plan(found, [*some, *more], verified)
    assert set(both.deleted) <= set(plan(found, some, verified).deleted)
    assert set(both.deleted) | set(both.kept) == {each.name for each in found}
    for policy in some:
        for name in policy.keeps(found):
            assert policy.why in both.kept[name]


def test_the_rules_name_what_they_say() -> None:
    """Each rule on one small list."""
    found = [
        CheckpointInfo(
            name=f"c{step}", step=step, created=step * 60.0, metric=metric, is_inside=step == 10
        )
        for step, metric in [(5, 0.3), (8, None), (10, 0.1), (20, math.nan), (30, 0.1)]
    ]
    assert {"c20", "c30"} == KeepLast(2).keeps(found)
    assert {"c20", "c30"} == KeepEvery(10).keeps(found)
    assert {"c10"} == KeepBest(1).keeps(found)
    assert {"c10", "c30", "c5"} == KeepBest(9).keeps(found)
    assert {"c30"} == KeepYounger(500.0, 30 * 60.0).keeps(found)
    assert set() == KeepLast(0).keeps(found) | KeepEvery(0).keeps(found)


def test_one_is_enough(tmp_path: Path) -> None:
    """With keep=1 there is a whole checkpoint at every time, and the pinned and the foreign stay."""
    training = build(tmp_path, save_every=1, keep=1)
    train(training, 2)
    layout = Layout(tmp_path)
    foreign = layout.checkpoints / "step-00000001"
    foreign.mkdir()
    (foreign / "manifest.json").write_text("{}", encoding="utf-8")
    (layout.checkpoints / "notes.txt").write_text("mine", encoding="utf-8")
    write_pins(layout, ["step-00000002"])
    train(training, 5)
    training.run.close()
    names = {each.name for each in layout.checkpoints.iterdir()}
    assert {"notes.txt", "step-00000001", "step-00000002", "step-00000005"} == names


def test_every_so_many_steps_stay(tmp_path: Path) -> None:
    """`keep_every` beside `keep`."""
    training = build(tmp_path, save_every=1, keep=1, keep_every=3)
    train(training, 8)
    training.run.close()
    names = sorted(each.name for each in Layout(tmp_path).checkpoints.iterdir())
    assert ["step-00000003", "step-00000006", "step-00000008"] == names


@pytest.mark.parametrize("content", ["", "[]", '{"pinned": [1]}', "{", '{"pinned": "x"}'])
def test_pins_that_cant_be_read_keep_everything(tmp_path: Path, content: str) -> None:
    """Where it isn't known what is pinned, nothing is deleted, and training goes on."""
    training = build(tmp_path, save_every=1, keep=1)
    layout = Layout(tmp_path)
    layout.pins.write_text(content, encoding="utf-8")
    train(training, 3)
    training.run.close()
    assert 3 == len(list(layout.checkpoints.iterdir()))
    with pytest.raises(DataInvalid, match=r"pins\.json"):
        read_pins(layout)


def test_pins_come_back(tmp_path: Path) -> None:
    """What is written is read, sorted and once each."""
    layout = Layout(tmp_path)
    assert frozenset() == read_pins(layout)
    write_pins(layout, ["b", "a", "b"])
    assert frozenset({"a", "b"}) == read_pins(layout)
    assert {"pinned": ["a", "b"]} == json.loads(layout.pins.read_text(encoding="utf-8"))
