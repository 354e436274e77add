"""Which file, which curve, which place and which settings: each choice is told, and a person's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from support.legacy_fixture import VOCABULARY, legacy_config
from support.old_run import Content, OldRuns, recorded_content
from support.tiny_trainer import Ended, asked_to_stop, contents, journal, newest
from unbroken import SettingsInvalid
from unbroken_tts.rescue.earlier_schedule import warmup_cosine_legacy
from unbroken_tts.rescue.old_checkpoint import Geometry, OldCheckpoint, read_old
from unbroken_tts.rescue.old_directory import find_best
from unbroken_tts.rescue.old_geometry import geometry_of, possible_geometries
from unbroken_tts.rescue.old_position import RescuePosition, place_in_data
from unbroken_tts.rescue.old_schedule import schedule_of


@pytest.fixture(scope="module")
def latest(old_runs: OldRuns, tmp_path_factory: pytest.TempPathFactory) -> OldCheckpoint:
    """Return the recorded `latest.pth` of step 24."""
    return read_old(old_runs.write(tmp_path_factory.mktemp("latest") / "latest.pth"))


def rescued(old_runs: OldRuns, place: Path, *words: object, until: int = 24) -> Ended:
    """Take a run over, and stop before its first step."""
    with asked_to_stop(until):
        return old_runs.start("rescue", place, *words)


def test_the_newest_whole_file_is_taken(old_runs: OldRuns, tmp_path: Path) -> None:
    """A truncated `latest.pth` is named and skipped; `model_step24.pth` beside it goes on."""
    whole = old_runs.write(tmp_path / "model_step24.pth").read_bytes()
    (tmp_path / "latest.pth").write_bytes(whole[:-100])
    run = find_best(tmp_path, legacy_config(), VOCABULARY)
    assert run.best.old.name == "model_step24.pth"
    assert [each.path.name for each in run.damaged] == ["latest.pth"]
    ended = rescued(old_runs, tmp_path)
    assert ended.code == 75, ended.err
    assert f"skipped: {tmp_path / 'latest.pth'} is truncated" in ended.out
    assert "4 x 3 samples (the only one that its counters allow)" in ended.out


def test_an_older_step_is_taken_where_the_newest_is_not_whole(
    old_runs: OldRuns, tmp_path: Path
) -> None:
    """What is lost with it is told."""

    def damage(content: Content) -> None:
        content["model"]["gpt.ln_f.weight"][0] = float("inf")

    old_runs.write(tmp_path / "latest.pth", damage)
    old_runs.write(tmp_path / "model_step16.pth", name="legacy_midaccum/latest.pth")
    ended = rescued(old_runs, tmp_path, "--batch-size", 6, "--grad-accumulation", 2, until=16)
    assert ended.code == 75, ended.err
    assert "NaN or infinity: gpt.ln_f.weight" in ended.out
    assert "lost with them: 8 steps" in ended.out
    assert newest(tmp_path).position.step == 16


def test_one_file_can_be_named(old_runs: OldRuns, tmp_path: Path) -> None:
    """Others beside it are then not looked at; the run continues where --output-dir says."""
    old = old_runs.write(tmp_path / "old/model_step24.pth")
    old_runs.write(tmp_path / "old/latest.pth")
    ended = rescued(old_runs, old, "--output-dir", tmp_path / "new")
    assert ended.code == 75, ended.err
    assert newest(tmp_path / "new").facts()["rescued"]["file"] == "model_step24.pth"
    assert {"latest.pth", "model_step24.pth"} == {each.name for each in old.parent.iterdir()}


def test_the_counters_tell_how_steps_were_cut(latest: OldCheckpoint, tmp_path: Path) -> None:
    """Two whole epochs and 18 micro-batches in 24 steps: 4 x 3 of 114 samples and nothing else."""
    assert [Geometry(batch=4, accumulation=3)] == possible_geometries(latest, 114)
    started = old_at(tmp_path, step=9, epoch=1, batch_idx=0)
    assert len(possible_geometries(started, 114)) > 1
    with pytest.raises(SettingsInvalid, match="its counters allow") as error:
        geometry_of(started, [started], 114, (0, 0))
    assert "--grad-accumulation" in str(error.value)
    assert geometry_of(started, [started], 114, (4, 3))[0] == Geometry(batch=4, accumulation=3)


def old_at(folder: Path, **counters: Any) -> OldCheckpoint:
    """Return a `model_step{N}.pth` with other counters than the recorded one."""
    content = recorded_content(is_latest=False) | counters
    content["scheduler"]["last_epoch"] = counters["step"]
    path = folder / f"model_step{counters['step']}.pth"
    torch.save(content, path)
    return read_old(path)


def test_the_curve_is_found_by_its_rate(latest: OldCheckpoint) -> None:
    """Warm-up and length of the settings agree with it, or those that do are named."""
    assert schedule_of(latest, [latest], 4, 38).agrees
    other = schedule_of(latest, [latest], 4, 76)
    assert not other.agrees
    assert other.recorded == pytest.approx(2e-3 * warmup_cosine_legacy(4, 38)(24))
    assert other.implied == (4, 38)
    assert schedule_of(latest, [latest], 9, 38).implied == (4, 38)


@pytest.mark.parametrize(
    ("how", "epoch", "batch", "repeated", "missing"),
    [("next-epoch", 3, 0, 0, 42), ("restart-epoch", 2, 0, 72, 0), ("count", 2, 6, 27, 27)],
)
def test_the_place_and_its_cost(
    latest: OldCheckpoint,
    how: RescuePosition,
    epoch: int,
    batch: int,
    repeated: int,
    missing: int,
) -> None:
    """72 of 114 samples are done, and nobody knows which: each way repeats or leaves out some."""
    cut = Geometry(batch=4, accumulation=3)
    place = place_in_data(how, latest, cut, 114, 12)
    assert (epoch, batch) == (place.position.epoch, place.position.batch)
    assert (repeated, missing) == (place.repeated, place.missing)
    assert (24, 24) == (place.position.step, place.position.updates)


@pytest.mark.parametrize("how", ["next-epoch", "restart-epoch", "count"])
def test_at_the_end_of_an_epoch_nothing_is_repeated_or_left_out(
    old_runs: OldRuns, tmp_path: Path, how: RescuePosition
) -> None:
    """A file of `max_steps` stands there as well, wherever the run really was."""
    old = read_old(
        old_runs.write(tmp_path / "latest.pth", lambda c: c.update(epoch=2, batch_idx=0))
    )
    place = place_in_data(how, old, Geometry(batch=4, accumulation=3), 114, 12)
    assert (2, 0, 0, 0) == (
        place.position.epoch, place.position.batch, place.repeated, place.missing
    )  # fmt: skip


@pytest.mark.parametrize("how", ["restart-epoch", "count"])
def test_the_place_can_be_chosen(old_runs: OldRuns, tmp_path: Path, how: str) -> None:
    """The run stands there, and goes on from there."""
    old_runs.write(tmp_path / "latest.pth")
    ended = rescued(old_runs, tmp_path, "--rescue-position", how, until=25)
    assert ended.code == 75, ended.err
    assert journal(tmp_path)[25]["epoch"] == 2
    assert f"--rescue-position {how}: " in ended.out


def test_settings_that_make_the_rate_jump_are_refused(old_runs: OldRuns, tmp_path: Path) -> None:
    """Nothing is begun; the message has both rates, the settings that agree, and the id."""
    old_runs.write(tmp_path / "latest.pth")
    flags = ("--output-dir", tmp_path, "--resume", "auto", "--epochs", 8)
    ended = old_runs.start("train", *flags)
    assert ended.code == 3, ended.err
    computed = 2e-3 * warmup_cosine_legacy(4, 77)(24)
    assert f"the file has 7.2634e-04, these settings give {computed:.4e}" in ended.err
    assert "--warmup-steps 4 --max-steps 38" in ended.err
    assert "--accept earlier-schedule-agrees" in ended.err
    assert not (tmp_path / "run.json").exists()
    with asked_to_stop(26):
        ended = old_runs.start("train", *flags, "--accept", "earlier-schedule-agrees")
    assert ended.code == 75, ended.err
    assert journal(tmp_path)[25]["lr"] == pytest.approx(2e-3 * warmup_cosine_legacy(4, 77)(24))


def test_a_confirmed_refusal_goes_on_with_the_file_s_rate(
    old_runs: OldRuns, tmp_path: Path
) -> None:
    """What a person confirms at a terminal, `--on-critical continue` confirms: the old curve acts."""
    old_runs.write(tmp_path / "latest.pth")
    flags = ("--warmup-steps", 7, "--on-critical", "continue")
    with asked_to_stop(26):
        ended = old_runs.start("rescue", tmp_path, *flags)
    assert ended.code == 75, ended.err
    assert journal(tmp_path)[25]["lr"] == pytest.approx(2e-3 * warmup_cosine_legacy(4, 38)(24))


def test_other_data_are_refused_until_accepted(old_runs: OldRuns, tmp_path: Path) -> None:
    """The number of samples is all that the file knows of them."""
    shutil.copytree(old_runs.root / "features", tmp_path / "features")
    lines = (old_runs.root / "train_pairs.jsonl").read_text("utf-8").splitlines(keepends=True)
    manifest = tmp_path / "train_pairs.jsonl"
    manifest.write_text("".join(lines[:100]), encoding="utf-8")
    old_runs.write(tmp_path / "old/latest.pth")
    flags = ("--train-manifest", manifest)
    ended = rescued(old_runs, tmp_path / "old", *flags)
    assert ended.code == 3, ended.err
    assert "earlier.samples is 100, was 114" in ended.err
    ended = rescued(old_runs, tmp_path / "old", *flags, "--accept", "earlier-data-agrees")
    assert ended.code == 75, ended.err
    lines = (tmp_path / "old/history.jsonl").read_text("utf-8").splitlines()
    (noted,) = [each for each in map(json.loads, lines) if each["event"] == "rescued"]
    assert (noted["file"], noted["step"], noted["position"]) == ("latest.pth", 24, "next-epoch")
    assert noted["took_new"] == ["earlier-data-agrees"]


def test_flags_that_are_left_out_are_the_old_run_s(old_runs: OldRuns, tmp_path: Path) -> None:
    """Rate, decay and schedule are in its file; layout, losses and order are as it always did."""
    old_runs.write(tmp_path / "latest.pth")
    assert rescued(old_runs, tmp_path).code == 75
    settings = newest(tmp_path).facts()["settings"]
    wanted = {
        "learning_rate": 2e-3, "weight_decay": 0.01, "schedule": "legacy", "max_steps": 38,
        "warmup_steps": 4, "decay": "all", "layout": "legacy", "order": "random",
        "loss_weighting": "legacy",
    }  # fmt: skip
    assert wanted.items() <= settings.items()
    with asked_to_stop(25):
        again = old_runs.start("train", "--output-dir", tmp_path, "--resume", "auto")
    assert again.code == 75, again.err
    assert "ALL CHECKS PASSED" in again.out


def test_another_rate_that_is_given_acts_only_if_accepted(
    old_runs: OldRuns, tmp_path: Path
) -> None:
    """It is compared as at any resume: refused, kept when confirmed, taken when accepted."""
    old_runs.write(tmp_path / "latest.pth")
    flags = ("--learning-rate", "1e-4")
    ended = rescued(old_runs, tmp_path, *flags)
    assert ended.code == 3, ended.err
    assert "--learning-rate 0.0001 differs from the run's" in ended.out
    accepted = ("--accept", "settings-unchanged", "--accept", "schedule-unchanged")
    with asked_to_stop(26):
        ended = old_runs.start("rescue", tmp_path, *flags, *accepted)
    assert ended.code == 75, ended.err
    assert journal(tmp_path)[25]["lr"] == pytest.approx(1e-4 * warmup_cosine_legacy(4, 38)(24))


def test_a_dry_run_writes_nothing(old_runs: OldRuns, tmp_path: Path) -> None:
    """It tells file, damage and place, and what would be refused; the directory stays as it was."""
    old_runs.write(tmp_path / "latest.pth")
    before = contents(tmp_path, but=())
    assert old_runs.start("rescue", tmp_path, "--dry-run").code == 0
    ended = old_runs.start("rescue", tmp_path, "--dry-run", "--epochs", 8)
    assert ended.code == 3, ended.err
    assert "Goes on at step 25 of 38" in ended.out
    assert "CRITICAL: LR mismatch" in ended.out
    assert before == contents(tmp_path, but=())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--base-checkpoint", "nowhere.pth"), "nowhere.pth is not there"),
        (("--resume", "auto"), "--resume"),
        (("--accept", "earlier-schedule-agree"), "is not the id of a check"),
        (("--rescue-position", "here"), "--rescue-position"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    old_runs: OldRuns, tmp_path: Path, flags: tuple[str, str], words: str
) -> None:
    """By name, with exit code 2; nothing is begun."""
    old_runs.write(tmp_path / "latest.pth")
    ended = old_runs.start("rescue", tmp_path, *flags)
    assert ended.code == 2, ended.out
    assert words in ended.err
    assert not (tmp_path / "run.json").exists()
