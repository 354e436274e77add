"""The command a report offers: the one that was typed, with what must change in it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from support.findings import CHECKS, finding, report
from unbroken.checks.catalogue import require_known
from unbroken.checks.check import Difference, OnAccept
from unbroken_tts.train.kept_settings import FOR_GOOD
from unbroken_tts.train.resume_commands import (
    BEGIN_NEW,
    GO_BACK,
    commands_for,
    typed_words,
    without,
)

WORDS = [
    *("python", "trainers/train_gpt_v2.py", "--output-dir", "out dir"),
    *("--resume", "auto", "--learning-rate", "1e-4"),
]


def checkpoint(root: Path, name: str) -> Path:
    """Make the directory of a complete checkpoint."""
    place = root / "checkpoints" / name
    place.mkdir(parents=True)
    (place / "manifest.json").write_text("{}", encoding="utf-8")
    return place


def command(id_: str, place: Path, words: list[str] = WORDS) -> list[str]:
    return shlex.split(commands_for(report(finding(id_)), words, place).get(id_, ""))


def test_what_can_be_accepted_is_the_same_command_with_its_id(tmp_path: Path) -> None:
    """The words that were typed, one flag more; the id is one that --accept takes."""
    place = checkpoint(tmp_path, "step-00000004")
    assert [*WORDS, "--accept", "settings-unchanged"] == command("settings-unchanged", place)
    acceptable = [id_ for id_, each in CHECKS.items() if each.on_accept is not OnAccept.NEVER]
    require_known(acceptable, CHECKS.values())


@pytest.mark.parametrize("id_", sorted(BEGIN_NEW))
def test_another_run_begins_with_the_weights_of_this_one(id_: str, tmp_path: Path) -> None:
    """No --resume, the checkpoint as --init-from, and a directory of its own."""
    place = checkpoint(tmp_path, "step-00000004")
    assert [
        *("python", "trainers/train_gpt_v2.py", "--learning-rate", "1e-4"),
        *("--init-from", str(place), "--output-dir", "out dir-new"),
    ] == command(id_, place)


@pytest.mark.parametrize("name", FOR_GOOD)
def test_a_setting_that_a_run_keeps_begins_a_new_one(name: str, tmp_path: Path) -> None:
    """The report offers no --accept that would be refused when it is pasted."""
    place = checkpoint(tmp_path, "step-00000004")
    other = Difference(f"settings.{name}", 1, 2)
    for each in ((other,), (Difference("settings.grad_clip", 1, 2), other)):
        found = report(finding("settings-unchanged", "differs", *each))
        words = shlex.split(commands_for(found, WORDS, place)["settings-unchanged"])
        assert ["--init-from", str(place), "--output-dir", "out dir-new"] == words[-4:]
        assert "--accept" not in words


@pytest.mark.parametrize("id_", sorted(GO_BACK))
def test_what_lies_in_the_checkpoint_goes_back_to_the_one_before(id_: str, tmp_path: Path) -> None:
    """The newest complete one that is older; none where there is none."""
    first = checkpoint(tmp_path, "step-00000900")
    assert not command(id_, first)
    half = checkpoint(tmp_path, "step-00001000+8")
    (checkpoint(tmp_path, "step-00001000+16") / "manifest.json").unlink()
    last = checkpoint(tmp_path, "step-00002000")
    assert str(half) == command(id_, last)[-1]
    assert "auto" not in command(id_, last)
    assert str(first) == command(id_, half)[-1]


def test_the_ids_are_those_of_checks_that_can_not_be_accepted() -> None:
    """No table names a check that was renamed or can be accepted."""
    for id_ in BEGIN_NEW | GO_BACK:
        assert CHECKS[id_].on_accept is OnAccept.NEVER


@pytest.mark.parametrize("words", [["--resume", "auto"], ["--resume=auto"], ["--resume="]])
def test_a_flag_goes_with_its_value(words: list[str]) -> None:
    """In both spellings, and nothing else goes."""
    assert ["a", "--resume-x", "b"] == without(["a", *words, "--resume-x", "b"], "--resume")


def test_the_program_is_named_as_it_is_typed() -> None:
    """A script is started by python; an installed program by its name, wherever it lies."""
    script = typed_words(["trainers/train_gpt_v2.py", "--amp"])
    assert ["python", "trainers/train_gpt_v2.py", "--amp"] == script
    assert ["unbroken-tts", "train"] == typed_words(["/opt/bin/unbroken-tts", "train"])
