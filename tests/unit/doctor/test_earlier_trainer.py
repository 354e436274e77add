"""`unbroken doctor` on an output directory of the earlier trainer: event files beside its checkpoints."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.earlier_curves import EarlierTrainer, rate
from unbroken.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")

Told = Callable[[EarlierTrainer], tuple[int, dict[str, Any]]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Asks the doctor about an output directory; returns its exit code and what it found."""

    def ask(trainer: EarlierTrainer) -> tuple[int, dict[str, Any]]:
        code = main(["doctor", str(trainer.output), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return ask


def recovers(step: int) -> float:
    """From 2.1 to 6.2 at step 3,500, and back over some thousand steps."""
    return 1 + (6.2 / 2.1 - 1) * math.exp(-(step - 3500) / 1500)


def breaks(found: dict[str, Any]) -> list[str]:
    return [
        each["kind"] for one in found["resumptions"] for each in one["clues"] if each["is_break"]
    ]


@pytest.mark.parametrize("same_directory", [False, True])
@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_healthy_resumes_are_called_healthy(
    tmp_path: Path, told: Told, seed: int, *, purge: bool, same_directory: bool
) -> None:
    """Three starts, two of which jump back to the last save; what is repeated is other noise."""
    trainer = EarlierTrainer(tmp_path, seed=seed, same_directory=same_directory)
    trainer.start(1, 3970, purge=purge)
    trainer.start(3001, 6480, purge=purge)
    trainer.start(6001, 9000, purge=purge)
    trainer.save(4000, 5000, 6000)
    code, found = told(trainer)
    assert (0, []) == (code, breaks(found))
    assert [3000, 6000] == [each["step"] for each in found["resumptions"]]
    assert (3, 9000) == (found["starts"], found["last_step"])
    assert all(each["repeated"] for each in found["resumptions"])
    assert any("model_step6000.pth" in note for note in found["notes"])


def test_a_crash_that_lost_no_point_is_a_resume_too(tmp_path: Path, told: Told) -> None:
    """It saved at 3,500 and went on there: nothing is drawn twice."""
    trainer = EarlierTrainer(tmp_path)
    trainer.start(1, 3500)
    trainer.start(3501, 7000)
    code, found = told(trainer)
    (resume,) = found["resumptions"]
    assert (0, 3500, "") == (code, resume["step"], resume["repeated"])
    assert "between the steps 3,500 and 3,549" in str(resume["clues"])


@pytest.mark.parametrize("last", [3500, 3950])
@pytest.mark.parametrize("noise", [0.03, 0.15])
def test_the_spike_at_3500_is_named_with_its_size(
    tmp_path: Path, told: Told, noise: float, last: int
) -> None:
    """Text loss from 2.1 to 6.2, which its users reported: where, by how much, and likely why."""
    trainer = EarlierTrainer(tmp_path, noise=noise)
    trainer.start(1, last)
    trainer.start(3501, 7000, losses=recovers)
    trainer.save(1500, 2500, 3500)
    code, found = told(trainer)
    (resume,) = found["resumptions"]
    assert (3, 3500) == (code, resume["step"])
    assert "loss spike" in breaks(found)
    assert "weights or optimizer state were not restored" in resume["cause"]
    (spike,) = [each for each in resume["clues"] if "train/text_loss" in each["sentence"]
                and each["kind"] == "loss spike"]  # fmt: skip
    assert "beyond the 50 % mark" in spike["sentence"]


@pytest.mark.parametrize(
    ("given", "kind", "cause"),
    [
        ({"rates": lambda step: rate(step - 3500)}, "learning rate", "schedule"),
        ({"rates": lambda step: 1.36 * rate(step)}, "learning rate", "schedule"),
        ({"losses": lambda _: 0.65}, "suspicious drop", "used already"),
        ({"losses": lambda _: math.nan}, "not finite", "not finite"),
    ],
)
def test_other_breaks_are_named(
    tmp_path: Path, told: Told, given: dict[str, Any], kind: str, cause: str
) -> None:
    """A schedule that begins anew, a longer one, samples that come again, what isn't finite."""
    trainer = EarlierTrainer(tmp_path)
    trainer.start(1, 3500)
    trainer.start(3501, 7000, **given)
    code, found = told(trainer)
    assert 3 == code
    assert kind in breaks(found)
    assert cause in found["resumptions"][0]["cause"]


def test_a_plateau_is_told_and_is_no_break(tmp_path: Path, told: Told) -> None:
    """The losses stay where they were at the resume; they may have reached their floor."""
    trainer = EarlierTrainer(tmp_path, noise=0.03)
    trainer.start(1, 3500)
    trainer.start(3501, 7000, level_of=lambda _: 3500)
    code, found = told(trainer)
    assert (0, []) == (code, breaks(found))
    assert "plateau" in {each["kind"] for each in found["resumptions"][0]["clues"]}


def test_huge_steps_are_steps(tmp_path: Path, told: Told) -> None:
    """Nothing is allocated by the number of a step."""
    trainer = EarlierTrainer(tmp_path)
    trainer.start(1, 2500, offset=2**50)
    trainer.start(2501, 4000, offset=2**50)
    code, found = told(trainer)
    assert (0, 2**50 + 2500) == (code, found["resumptions"][0]["step"])


def test_a_directory_without_anything_tells_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, missing, or with checkpoints alone, which are not opened: exit code 4, no guess."""
    EarlierTrainer(tmp_path).save(1000)
    (tmp_path / "empty/logs").mkdir(parents=True)
    for place in (tmp_path, tmp_path / "empty", tmp_path / "missing"):
        assert 4 == main(["doctor", str(place)])
        assert "no record of the past" in capsys.readouterr().err


def test_damaged_files_give_what_they_have(tmp_path: Path, told: Told) -> None:
    """Torn, emptied, overwritten: the doctor reads up to there and never falls."""
    trainer = EarlierTrainer(tmp_path)
    first = trainer.start(1, 3500)
    second = trainer.start(3501, 7000, losses=recovers)
    first.write_bytes(first.read_bytes()[:-7])
    code, found = told(trainer)
    assert (3, 3500) == (code, found["resumptions"][0]["step"])
    whole = second.read_bytes()
    chance = random.Random(5)  # noqa: S311  # damage, no secret
    for _ in range(12):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 30)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        second.write_bytes(bytes(damaged))
        assert told(trainer)[0] in (0, 3)
    for content in (b"", b"\0" * 4096, whole[:9]):
        second.write_bytes(content)
        code, found = told(trainer)
        assert (0, 1) == (code, found["starts"])
        assert any("no point in" in note for note in found["notes"])
