"""What a person sees: lines, curves and logs, the same whether the run was stopped or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from support.tiny_trainer import TinyTrainer, journal, write_tiny_trainer
from unbroken_tts.train.logbook import duration, mean_of_finite

TRAIN = {"text_loss", "mel_loss", "mel_top1", "lr", "grad_norm", "tokens_per_second", "memory_gib"}
TAGS = {f"train/{name}" for name in TRAIN} | {
    f"val/{name}" for name in ("text_loss", "mel_loss", "mel_top1", "loss", "text_gap")
}
LINE = re.compile(
    r"\[Train\] step=(\d+) text_loss=\d+\.\d{4} mel_loss=\d+\.\d{4} mel_top1=\d\.\d{4} "
    r"lr=\d\.\d{3}e[+-]\d\d grad_norm=\d+\.\d{4} epoch=\d+\.\d{3} tokens/s=\d+ eta=\d\d:\d\d:\d\d"
)


def stable(line: str) -> str:
    """Return a line without what depends on the clock."""
    return re.sub(r" tokens/s=\d+ eta=\S+", "", line)


def curves(directory: Path) -> dict[str, dict[int, float]]:
    """Read all curves back; each step of a tag must be there once."""
    found = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    found.Reload()
    points = {tag: found.Scalars(tag) for tag in found.Tags()["scalars"]}
    for tag, events in points.items():
        steps = [each.step for each in events]
        assert sorted(set(steps)) == steps, tag
    return {tag: {each.step: each.value for each in events} for tag, events in points.items()}


def only_directory(logs: Path) -> Path:
    """Return the one directory of curves."""
    (found,) = [each for each in logs.iterdir() if each.is_dir()]
    return found


@pytest.fixture(scope="module")
def interrupted(
    trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """Return a run stopped in mid-interval and inside steps, and all it printed."""
    output = tmp_path_factory.mktemp("interrupted")
    trainer.stop(output, at=6, samples=3)
    trainer.stop(output, at=13)
    ended = trainer.start(output)
    assert ended.code == 0, ended.err
    return output, (output / "logs/console.log").read_text("utf-8").splitlines()


def test_the_lines_are_of_one_form_and_on_their_multiples(whole: Path) -> None:
    """Every line can be read by a script, at each multiple of the interval."""
    lines = (whole / "stdout.txt").read_text("utf-8").splitlines()
    train = [line for line in lines if line.startswith("[Train]")]
    found = [LINE.fullmatch(line) for line in train]
    assert all(found), train
    assert [4, 8, 12, 16, 20] == [int(each[1]) for each in found if each]


def test_the_averages_are_those_of_the_journal(whole: Path) -> None:
    """A line tells the mean over its interval and the rate that was applied at its step."""
    lines = journal(whole)
    text = (whole / "stdout.txt").read_text("utf-8")
    for step in (4, 8):
        mean = sum(lines[each]["mel_loss"] for each in range(step - 3, step + 1)) / 4
        line = next(each for each in text.splitlines() if each.startswith(f"[Train] step={step} "))
        assert f" mel_loss={mean:.4f} " in line
        assert f" lr={lines[step]['lr']:.3e} " in line


def test_an_interrupted_run_prints_the_same(
    whole: Path, interrupted: tuple[Path, list[str]]
) -> None:
    """Averages over an interval that a stop cut in two are those of the whole run."""
    expected = (whole / "stdout.txt").read_text("utf-8").splitlines()
    kinds = ("[Train]", "[Val]")
    first = {stable(line) for line in expected if line.startswith(kinds)}
    assert len(first) == 10
    assert first == {stable(line) for line in interrupted[1] if line.startswith(kinds)}


def test_everything_printed_is_kept(whole: Path) -> None:
    """`logs/console.log` holds every line, from the first on."""
    printed = (whole / "stdout.txt").read_text("utf-8")
    assert printed == (whole / "logs/console.log").read_text("utf-8")
    assert printed.startswith("Device: ")


def test_the_curves_of_an_interrupted_run_are_those_of_the_whole(
    whole: Path, interrupted: tuple[Path, list[str]]
) -> None:
    """Same tags, each step once, same values; what a resume repeats is not drawn twice."""
    expected = curves(only_directory(whole / "logs"))
    found = curves(only_directory(interrupted[0] / "logs"))
    assert TAGS == set(expected) == set(found)
    for tag in TAGS - {"train/tokens_per_second", "train/memory_gib"}:
        assert expected[tag] == found[tag], tag


def test_a_given_up_future_is_hidden(trainer: TinyTrainer, tmp_path: Path, whole: Path) -> None:
    """Going on from an older checkpoint hides the points after it."""
    assert trainer.start(tmp_path).code == 0
    trainer_flags = ("--log-interval", 3)
    older = str(tmp_path / "checkpoints/step-00000016")
    assert trainer.start(tmp_path, *trainer_flags, resume=older).code == 0
    found = curves(only_directory(tmp_path / "logs"))["train/lr"]
    assert [4, 8, 12, 16, 18, 21] == sorted(found)


def test_the_name_of_the_curves_can_be_given(
    trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`INDEXTTS_RUN_NAME` is honoured as before."""
    monkeypatch.setenv("INDEXTTS_RUN_NAME", "mine")
    assert trainer.start(tmp_path, "--max-steps", 1).code == 0
    assert only_directory(tmp_path / "logs").name == "mine"


def test_samples_are_spoken_where_the_codec_can_decode(tmp_path: Path) -> None:
    """Sound comes to TensorBoard at each validation, and training is not disturbed by it."""
    import numpy as np

    from unbroken_tts.prepare.codec.melvq import MelVq, stacked_frames

    trainer = write_tiny_trainer(tmp_path / "tiny")
    noise = np.random.default_rng(1).standard_normal(4 * 24_000).astype(np.float32) * 0.1
    codec = MelVq.fit([stacked_frames(noise, 24_000)], size=32)
    codec.save(tmp_path / "codec")
    flags = ("--max-steps", 3, "--val-interval", 3)
    plain = trainer.start(tmp_path / "plain", *flags)
    ended = trainer.start(
        tmp_path / "run", *flags, "--codec", tmp_path / "codec", "--sample-audio", 2
    )
    assert ended.code == plain.code == 0, ended.err
    found = EventAccumulator(str(only_directory(tmp_path / "run/logs")))
    found.Reload()
    assert ["val/sample_0", "val/sample_1"] == sorted(found.Tags()["audio"])
    assert journal(tmp_path / "plain") == journal(tmp_path / "run")


def test_times_and_means_are_plain() -> None:
    """Days are shown when there are any; a mean leaves out what is not finite."""
    assert ["00:00:00", "00:01:05", "2d03:00:01"] == [duration(t) for t in (-1, 65, 183_601)]
    assert mean_of_finite([1.0, float("nan"), 3.0, float("inf")]) == 2.0
    assert str(mean_of_finite([float("inf")])) == "nan"
