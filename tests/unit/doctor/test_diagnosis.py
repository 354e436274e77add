"""`unbroken doctor`: what the record of a run tells of its resumes; on real runs and real files."""

from __future__ import annotations

import json
import math
import random
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.toy_training import build, train
from unbroken.cli.main import main
from unbroken.doctor.examination import examine_past
from unbroken.errors import Diverged


class Killed(Exception):
    """Ends a training without a save."""


def broken_off(directory: Path, after: int, **options: Any) -> None:
    """Train until a step is completed and leave without saving, as a kill does."""

    def leave(result: Any) -> None:
        if result.step == after:
            raise Killed

    training = build(directory, **options)
    with pytest.raises(Killed):
        train(training, after + 9, after_step=leave)
    training.run.close()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed twice and went on."""
    directory = tmp_path_factory.mktemp("healthy")
    broken_off(directory, 5)
    broken_off(directory, 11)
    training = build(directory)
    train(training, 14)
    training.run.close()
    return directory


def doctor(*words: object) -> int:
    return main(["doctor", *map(str, words)])


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    code = doctor(*words, "--json")
    out = capsys.readouterr().out
    return code, json.loads(out)


def test_a_healthy_past_is_called_healthy(
    healthy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two resumes, each proved by its repeated steps: exit code 0, nothing changed on the disk."""
    files = {path: path.read_bytes() for path in healthy.rglob("*") if path.is_file()}
    code, found = told(capsys, healthy)
    assert (0, False) == (code, found["is_broken"])
    assert [3, 9] == [each["step"] for each in found["resumptions"]]
    assert all("EXACT (2/2" in each["repeated"] for each in found["resumptions"])
    assert files == {path: path.read_bytes() for path in healthy.rglob("*") if path.is_file()}
    assert 0 == doctor(healthy / "journal.jsonl")
    assert "resume 2 after step 9" in capsys.readouterr().out


def test_one_is_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 start, 2 starts; 1 resume."""
    out = ""
    for starts, said in enumerate(("1 start,", "2 starts,"), 1):
        journal(tmp_path, *(lines(range(9 * n + 1, 9 * n + 10), n + 1) for n in range(starts)))
        assert 0 == doctor(tmp_path)
        out = capsys.readouterr().out
        assert said in out
    assert "\n1 resume, 0 broke something; 0 checkpoints, 0 with a problem" in out


def spoiled(directory: Path, *, on_diverged: str) -> None:
    """Go on with another learning rate, as a schedule that was built otherwise gives."""
    broken_off(directory, 5)
    training = build(directory, on_diverged=on_diverged)
    training.run.beginning.restored = None  # as if it were done by a loop that compares nothing
    schedule = training.run.schedulers[0]
    schedule.base_rates = [0.025]
    schedule.apply()
    try:
        train(training, 9)
    finally:
        training.run.close()


def test_another_learning_rate_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It went on at half the rate: exit code 3, where, by how much in per cent, and the cause."""
    spoiled(tmp_path, on_diverged="continue")
    code, found = told(capsys, tmp_path)
    assert 3 == code
    (resume,) = found["resumptions"]
    assert (3, True) == (resume["step"], resume["broke"])
    assert "DIVERGED at step 4: another learning rate" in resume["repeated"]
    assert "(-50 %)" in resume["cause"]
    assert "schedule" in resume["cause"]
    assert 3 == doctor(tmp_path)
    assert "resume 1 after step 3" in capsys.readouterr().out


def test_what_was_caught_at_once_broke_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start that its replay stopped saved nothing; the next one went on from before it."""
    with pytest.raises(Diverged):
        spoiled(tmp_path, on_diverged="stop")
    training = build(tmp_path)
    train(training, 9)
    training.run.close()
    code, found = told(capsys, tmp_path)
    assert 0 == code
    caught, healed = found["resumptions"]
    assert (True, False) == (caught["was_caught"], caught["broke"])
    assert "EXACT" in healed["repeated"]


def lines(
    steps: range, start: int, change: Callable[[dict[str, Any]], object] = lambda _: None
) -> str:
    """Return a journal's lines: a falling noisy loss, as a function of the step."""
    text = ""
    for step in steps:
        own = random.Random(step)  # noqa: S311  # noise, no secret
        line = {
            "step": step,
            "updates": step,
            "epoch": step // 1000,
            "samples": 32,
            "sample_digest": f"{step:032x}",
            "loss": (2 + 3 * math.exp(-step / 900)) * (1 + own.gauss(0, 0.04)),
            "lr": 1e-3 * (0.5 + 0.5 * math.cos(step / 2000)),
            "grad_norm": math.exp(own.gauss(0, 0.3)),
        }
        change(line)
        text += json.dumps({**line, "start": start}) + "\n"
    return text


def journal(directory: Path, *parts: str) -> Path:
    (directory / "journal.jsonl").write_text("".join(parts), encoding="utf-8", newline="\n")
    return directory


def test_healthy_resumes_raise_no_alarm(tmp_path: Path) -> None:
    """Twenty resumes of a noisy run, without any history: none is called broken."""
    parts = [lines(range(1, 301), 1)]
    parts += [lines(range(300 * n - 30, 300 * (n + 1)), n + 1) for n in range(1, 21)]
    found = examine_past(journal(tmp_path, *parts))
    assert found is not None
    assert 20 == len(found.resumptions)
    assert [] == [each for each in found.resumptions if each.broke]


def scaled(name: str, factor: float) -> Callable[[dict[str, Any]], object]:
    return lambda line: line.update({name: line[name] * factor})


@pytest.mark.parametrize(
    ("change", "cause", "evidence"),
    [
        (scaled("loss", 2.0), "weights or optimizer state", "loss spike"),
        (scaled("loss", 0.5), "used already", "suspicious drop"),
        (scaled("lr", 2.0), "schedule", "learning rate"),
        (scaled("grad_norm", 20.0), "accumulation of gradients", "gradient norm"),
        (lambda line: line.update(loss="nan"), "not finite", "not finite"),
        (lambda line: line.update(samples=64), "effective batch", "64, were 32"),
        (
            lambda line: line.update(sample_digest=f"{line['step'] - 100:032x}"),
            "used again",
            "those of step",
        ),
        (lambda line: line.update(updates=line["step"] + 500), "counter of the updates", "+501"),
    ],
)
def test_what_broke_is_named_with_its_cause(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], cause: str, evidence: str
) -> None:
    """Each input and each curve that leaves its way at a resume: found, and the cause is right."""
    journal(tmp_path, lines(range(1, 801), 1), lines(range(801, 1000), 2, change))
    found = examine_past(tmp_path)
    assert found is not None
    (resume,) = found.resumptions
    assert resume.broke
    assert cause in resume.cause
    assert any(evidence in each.sentence for each in resume.breaks)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_what_a_person_accepted_is_no_break_but_what_follows_may_be(
    tmp_path: Path, factor: float
) -> None:
    """Another batch on purpose is noted, not called broken; a loss that leapt with it is."""

    def change(line: dict[str, Any]) -> None:
        line.update(samples=64, loss=line["loss"] * factor)

    journal(tmp_path, lines(range(1, 801), 1), lines(range(801, 1000), 2, change))
    started = {"event": "start", "start": 2, "step": 800, "time": 0.0}
    checks = {"checks": {"taken": ["batch-geometry-unchanged"], "findings": []}}
    (tmp_path / "history.jsonl").write_text(json.dumps(started | checks) + "\n", encoding="utf-8")
    found = examine_past(tmp_path)
    assert found is not None
    (resume,) = found.resumptions
    assert (factor > 1) == resume.broke
    assert any("accepted at the resume" in each.sentence for each in resume.clues)
    assert (factor > 1) == ("which was accepted" in resume.cause)


@pytest.mark.parametrize("said", [None, "learning rate at step 820: off its curve: a, b"])
def test_an_accepted_rate_is_its_curve_from_there_on(tmp_path: Path, said: str | None) -> None:
    """Only what the run itself held against the accepted curve is told; without it nothing is."""
    change = scaled("lr", 5.0)
    journal(tmp_path, lines(range(1, 801), 1), lines(range(801, 1000), 2, change))
    taken = ["settings-unchanged", "learning-rate-continues"]
    events: list[dict[str, Any]] = [{"event": "start", "step": 800, "checks": {"taken": taken}}]
    events += [{"event": "watch", "kind": "learning rate", "step": 820, "sentence": said}] * bool(
        said
    )
    history = "".join(json.dumps(each | {"start": 2, "time": 0.0}) + "\n" for each in events)
    (tmp_path / "history.jsonl").write_text(history, encoding="utf-8", newline="\n")
    found = examine_past(tmp_path)
    assert found is not None
    (resume,) = found.resumptions
    assert not resume.broke
    told = [
        each for each in (*resume.curves, *(c.sentence for c in resume.clues)) if "rate" in each
    ]
    expected = [f"accepted at the resume: {taken[1]}"] if said is None else [said]
    assert set(expected) <= set(told)
    assert (said is not None) == any("off its curve" in each for each in told)
    assert not any("leapt" in each for each in told)


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    """Garbage, torn lines, wrong types, an unreadable history: the rest is read, nothing crashes."""
    wrong = [
        b"\xff\x00garbage\n",
        b"[1, 2]\n",
        b'{"step": "7", "start": 1}\n',
        b'{"step": 7, "loss": null, "start": 1}\n',
        b'{"step": 7, "loss": [], "samples": "x", "start": 1}\n',
        b"[" * 5000 + b"\n",
        b'{"step": 7, "lo',
    ]
    whole = lines(range(1, 50), 1).encode()
    for each in wrong:
        (tmp_path / "journal.jsonl").write_bytes(whole + each + lines(range(50, 90), 2).encode())
        (tmp_path / "history.jsonl").write_bytes(
            b'{"event": "start", "start": 2, "step": []}\n\x00'
        )
        found = examine_past(tmp_path)
        assert found is not None
        assert 89 == found.last_step


def test_a_journal_larger_than_the_memory_is_streamed(tmp_path: Path) -> None:
    """Of 60,000 lines only those around the resume are held."""
    journal(tmp_path, lines(range(1, 60_001), 1), lines(range(59_990, 60_050), 2))
    reported: list[tuple[int, int]] = []
    tracemalloc.start()
    try:
        found = examine_past(tmp_path, lambda done, total: reported.append((done, total)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert "EXACT (11/11" in found.resumptions[0].repeated
    assert peak < 12e6 < (tmp_path / "journal.jsonl").stat().st_size
    assert reported == sorted(reported)
    assert reported[-1][0] == reported[-1][1]


@pytest.mark.parametrize("name", ["", "nowhere", "logs"])
def test_nothing_to_read_ends_with_code_four(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """An empty directory, none at all, and event files without an event: three sentences."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.out.tfevents.1.x").write_bytes(b"")
    shutil.rmtree(tmp_path / "logs") if not name else None
    assert 4 == doctor(tmp_path / name)
    assert "no record of the past" in capsys.readouterr().err
