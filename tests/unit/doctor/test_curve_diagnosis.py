"""`unbroken doctor` on TensorBoard files alone, as the earlier trainer left them."""

from __future__ import annotations

import json
import math
import pickle
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from unbroken.cli.main import main


def doctor(*words: object) -> int:
    return main(["doctor", *map(str, words)])


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    code = doctor(*words, "--json")
    out = capsys.readouterr().out
    return code, json.loads(out)


def drawn(directory: Path, name: str, steps: range, **factors: float) -> Path:
    """Draw the earlier trainer's curves as it did: one writer a process, a point every 100 steps."""
    from torch.utils.tensorboard import SummaryWriter

    place = directory / "logs" / name
    writer: Any = SummaryWriter(str(place))
    for step in steps:
        own = random.Random(step)  # noqa: S311  # noise, no secret
        values = {
            "text_loss": 2.1 * (1 + own.gauss(0, 0.03)),
            "mel_loss": (4 - step / 20_000) * (1 + own.gauss(0, 0.03)),
            "mel_top1": 0.3,
            "lr": 5e-6 * (0.5 + 0.5 * math.cos(step / 10_000)),
        }
        for tag, value in values.items():
            writer.add_scalar(f"train/{tag}", value * factors.get(tag, 1.0), step)
    writer.close()
    return place


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("factors", "kind", "said"),
    [
        ({}, "", ""),
        ({"text_loss": 2.95}, "loss spike", "beyond the 50 % mark"),
        ({"mel_loss": 0.75}, "suspicious drop", "beyond the 20 % mark"),
        ({"lr": 1.4}, "learning rate", "+40.0 %"),
    ],
)
def test_curves_of_the_earlier_trainer_are_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    factors: dict[str, float],
    kind: str,
    said: str,
) -> None:
    """Its tags and directories: a healthy resume is healthy, a broken one is named in per cent."""
    drawn(tmp_path, "run_1", range(100, 6001, 100))
    drawn(tmp_path, "run_2", range(6100, 9001, 100), **factors)
    code, found = told(capsys, tmp_path)
    (resume,) = found["resumptions"]
    assert (3 if kind else 0) == code
    breaks = [each for each in resume["clues"] if each["is_break"]]
    assert [kind] * bool(kind) == [each["kind"] for each in breaks][:1]
    assert said in "".join(each["sentence"] for each in breaks)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("factors", "kind"),
    [
        ({}, ""),
        ({"text_loss": 1.3}, ""),
        ({"text_loss": 2.95}, "loss spike"),
        ({"mel_loss": 0.4}, "suspicious drop"),
        ({"lr": 1.4}, "learning rate"),
    ],
)
def test_few_points_find_what_is_gross(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], factors: dict[str, float], kind: str
) -> None:
    """With twelve points before, the old rule of 50 % stands, and the learning rate is compared."""
    drawn(tmp_path, "run_1", range(100, 1201, 100))
    drawn(tmp_path, "run_2", range(1300, 2001, 100), **factors)
    code, found = told(capsys, tmp_path)
    assert (3 if kind else 0) == code
    (resume,) = found["resumptions"]
    assert [kind] * bool(kind) == [each["kind"] for each in resume["clues"] if each["is_break"]]
    assert "only 12 points before" in "".join(resume["curves"])


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_another_run_in_the_same_directory_is_no_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The earlier trainer drew every run of an output directory side by side."""
    drawn(tmp_path, "run_1", range(100, 4001, 100))
    drawn(tmp_path, "run_2", range(100, 4001, 100), text_loss=3.0)
    code, found = told(capsys, tmp_path)
    assert (0, []) == (code, found["resumptions"])


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_points_drawn_twice_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Repeated with equal values: proved; with another rate: the schedule is named."""
    drawn(tmp_path / "a", "run_1", range(100, 6001, 100))
    drawn(tmp_path / "a", "run_2", range(5100, 7001, 100))
    drawn(tmp_path / "b", "run_1", range(100, 6001, 100))
    drawn(tmp_path / "b", "run_2", range(5100, 7001, 100), lr=1.36)
    code, found = told(capsys, tmp_path / "a")
    assert (0, 5000) == (code, found["resumptions"][0]["step"])
    assert "train/text_loss 10/10 points equal" in found["resumptions"][0]["repeated"]
    code, found = told(capsys, tmp_path / "b")
    assert 3 == code
    assert "schedule" in found["resumptions"][0]["cause"]


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_without_tensorboard_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is needed only where curves are all there is: exit code 2, with the command."""
    drawn(tmp_path, "run_1", range(100, 301, 100))
    name = "tensorboard.backend.event_processing.event_file_loader"
    monkeypatch.setitem(sys.modules, name, None)
    assert 2 == doctor(tmp_path)
    assert "python -m pip install tensorboard" in capsys.readouterr().err
    line = {"step": 1, "updates": 1, "loss": 1.0, "lr": 1e-3, "grad_norm": 1.0, "start": 1}
    (tmp_path / "journal.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert 0 == doctor(tmp_path)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_pickles_are_not_opened_and_torn_files_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A `latest.pth` that would write a file is left alone; a torn event file gives its points."""

    class Payload:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "executed"), "w")

    place = drawn(tmp_path, "run_1", range(100, 3001, 100))
    (tmp_path / "latest.pth").write_bytes(pickle.dumps(Payload()))
    (events,) = place.iterdir()
    events.write_bytes(events.read_bytes()[:-11])
    code, found = told(capsys, tmp_path)
    assert (0, 3000) == (code, found["last_step"])
    assert not (tmp_path / "executed").exists()
    assert any("latest.pth" in each for each in found["notes"])
    events.write_bytes(events.read_bytes()[:50] + bytes(200) + events.read_bytes()[50:])
    assert doctor(tmp_path) in (0, 4)
