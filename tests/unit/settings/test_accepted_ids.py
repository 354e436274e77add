"""--on-critical and --abort-window: what is read, and what is refused."""

from __future__ import annotations

import argparse

import pytest

from unbroken.errors import SettingsInvalid
from unbroken_tts.settings import TrainSettings, must_match_fields
from unbroken_tts.settings_flags import add_flags, read_settings

REQUIRED = [
    "--train-manifest",
    "train.jsonl",
    "--val-manifest",
    "val.jsonl",
    "--tokenizer",
    "t.model",
]


def parse(*words: str) -> TrainSettings:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    return read_settings(vars(parser.parse_args([*REQUIRED, *words])))


def test_left_out_a_person_is_asked_for_ten_seconds() -> None:
    """Nothing is accepted beforehand, and a critical finding asks."""
    settings = parse()
    assert ("ask", 10.0, ()) == (settings.on_critical, settings.abort_window, settings.accept)


def test_what_is_accepted_may_change_from_start_to_start() -> None:
    """How findings are met is no property of the run."""
    assert not must_match_fields() & {"on_critical", "abort_window", "accept"}


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_a_window_is_a_finite_time(seconds: str) -> None:
    """Less than nothing, or for ever, is refused and names the flag."""
    with pytest.raises(SettingsInvalid, match="--abort-window"):
        parse(f"--abort-window={seconds}")


def test_only_three_answers_are_known() -> None:
    """Another word is refused with the three."""
    with pytest.raises(SettingsInvalid, match="ask, abort, continue"):
        parse("--on-critical", "ignore")
