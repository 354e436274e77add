"""Facts: files by content, values with their types, each difference by its dotted name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from unbroken.errors import NotEncodable, SettingsInvalid
from unbroken.state.facts import differences, environment, settled


def names(saved: dict[str, Any], live: dict[str, Any]) -> list[str]:
    return [each.name for each in differences(saved, live)]


def test_a_file_is_its_content_wherever_it_lies(tmp_path: Path) -> None:
    """The same bytes at another path are the same fact, at any depth."""
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"tokenizer")
    (tmp_path / "three").write_bytes(b"another")
    facts = [
        settled({"t": path, "deep": {"list": [path], "tuple": (path,)}})
        for path in (tmp_path / "one", tmp_path / "two", tmp_path / "three")
    ]
    assert facts[0] == facts[1]
    assert ["deep.list", "deep.tuple", "t"] == names(facts[0], facts[2])
    assert str(tmp_path) not in str(facts)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, or a directory, is an error of the command."""
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(SettingsInvalid, match=r"the fact 'data\.tokenizer'"):
            settled({"data": {"tokenizer": path}})


def test_a_fact_without_a_faithful_form_is_refused_at_once() -> None:
    """An object or a tensor among the facts is an error at the start, not at the first resume."""
    with pytest.raises(NotEncodable, match="odd"):
        settled({"odd": object()})
    with pytest.raises(NotEncodable, match=r"weights\.0 is a tensor"):
        settled({"weights": [torch.ones(1)]})


@pytest.mark.parametrize(
    ("saved", "live", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1.0}, ["a"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": [1]}, {"a": (1,)}, ["a"]),
        ({"a": [1]}, {"a": [1.0]}, ["a"]),
        ({"a": float("nan")}, {"a": float("nan")}, []),
        ({"a": None}, {}, ["a"]),
        ({}, {"a": None}, ["a"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["a.c"]),
        ({"a": {"b": 1}}, {"a": 1}, ["a"]),
        ({"b": 1, "a": 1}, {"a": 1, "b": 1}, []),
        ({"b": 1}, {"a": 1}, ["a", "b"]),
    ],
)
def test_each_difference_is_named(
    saved: dict[str, Any], live: dict[str, Any], expected: list[str]
) -> None:
    """Added, removed, changed and cast facts are differences; order and NaN are none."""
    assert expected == names(saved, live)


def test_a_difference_says_both_values() -> None:
    """A person reads what is and what was."""
    found = differences({"rate": 0.1, "gone": 1}, {"rate": 0.2})
    assert ["gone is absent, was 1", "rate is 0.2, was 0.1"] == [str(each) for each in found]


def test_the_environment_of_one_process_is_one() -> None:
    """Looking twice finds the same, and it can be saved."""
    assert [] == names(settled(environment()), settled(environment()))
