"""A run of the earlier trainer goes on at its next step, with all that its file holds."""

from __future__ import annotations

import statistics
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from support.legacy_fixture import expected, legacy_config, recorded_weights, samples
from support.old_run import OldRuns, continued
from support.tiny_trainer import asked_to_stop, contents, journal, newest
from unbroken import find_checkpoint
from unbroken_tts.evaluate import evaluate
from unbroken_tts.hardware import PrecisionPlan
from unbroken_tts.rescue.old_checkpoint import SCALER
from unbroken_tts.train.load import load_weights


@pytest.fixture(scope="module")
def trained(old_runs: OldRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an old run, continued in place to its end."""
    place = tmp_path_factory.mktemp("trained")
    old_runs.write(place / "latest.pth")
    old_runs.write(place / "model_step24.pth")
    before = contents(place)
    ended = old_runs.start("train", "--output-dir", place, "--resume", "auto")
    assert ended.code == 0, ended.err
    (place / "stdout.txt").write_text(ended.out, encoding="utf-8")
    assert before.items() <= contents(place).items(), "an old file was changed"
    return place


def test_the_first_new_step_is_the_next_one(trained: Path) -> None:
    """Step 25 follows 24; nothing is trained twice, and the end is the old run's: 38 steps."""
    assert list(range(25, 39)) == sorted(journal(trained))


def test_its_rates_are_those_of_the_old_curve(trained: Path) -> None:
    """The rate that the file has is applied first, and the curve ends where it was to end."""
    lines = journal(trained)
    assert lines[25]["lr"] == continued()["files"]["legacy/latest.pth"]["scheduler_last_lr"][0]
    rates = [lines[step]["lr"] for step in range(25, 39)]
    assert sorted(rates, reverse=True) == rates
    assert rates[-1] == pytest.approx(2e-3 * 0.5 * (1 + np.cos(np.pi * 33 / 34)))


def test_its_losses_are_those_of_the_uninterrupted_run(trained: Path) -> None:
    """Each of the first 12 lies within the spread of the micro-batches of that run's steps.

    The samples differ, so no closer agreement can be asked for; a run with the moments of other
    parameters, or at step 0 of its curve, falls out of it (see the test after).
    """
    for column, name in enumerate(("text_loss", "mel_loss")):
        assert _worst_distance(trained, column, name) < 3.0


def test_the_spread_would_show_a_wrong_resume(old_runs: OldRuns, tmp_path: Path) -> None:
    """With the base's weights instead of the run's, the same comparison fails by far."""
    weights = recorded_weights("weights_base")

    def with_base(content: dict[str, dict[str, torch.Tensor]]) -> None:
        content["model"].update(weights)

    old_runs.write(tmp_path / "latest.pth", with_base)
    with asked_to_stop(26):
        ended = old_runs.start("rescue", tmp_path)
    assert ended.code == 75, ended.err
    assert _worst_distance(tmp_path, 0, "text_loss", last=26) > 9.0


def _worst_distance(place: Path, column: int, name: str, last: int = 36) -> float:
    """Return the largest distance of a step's loss from the recorded steps, in their spreads."""
    told, lines = continued()["losses_of_micro_batches"], journal(place)
    distances = []
    for step in range(25, last + 1):
        near = [each[column] for at in range(step - 1, step + 2) for each in told.get(str(at), [])]
        spread = statistics.stdev(near)
        distances.append(float(abs(lines[step][name] - statistics.mean(near)) / spread))
    return max(distances)


@pytest.mark.parametrize("name", ["legacy/latest.pth", "legacy_midaccum/latest.pth"])
def test_the_checkpoint_has_the_recorded_losses(
    old_runs: OldRuns, tmp_path: Path, name: str
) -> None:
    """What was taken over scores as the earlier trainer scored it, to 1e-5, padded as it padded."""
    step = continued()["files"][name]["step"]
    old_runs.write(tmp_path / "latest.pth", name=name)
    with asked_to_stop(step):
        ended = old_runs.start("rescue", tmp_path, "--keep-every", 1)
    assert ended.code == 75, ended.err
    assert f"Resumed run {newest(tmp_path).manifest.run_id}" in ended.out
    model = load_weights(tmp_path / f"checkpoints/step-{step:08d}").model
    told, found = expected(), samples()
    scores = evaluate(model, [found.batch(told["batch"], legacy_config())], layout="legacy")
    assert told["losses"][f"weights_step{step}"]["batch"] == pytest.approx(
        [scores.text_loss, scores.mel_loss, scores.mel_top1], abs=1e-5
    )


def test_an_old_run_off_the_boundary_goes_on_at_its_next_step(
    old_runs: OldRuns, tmp_path: Path
) -> None:
    """Cut 6 x 2 and continued as 4 x 3, the first new step is 17 of the same 12 samples."""
    old_runs.write(tmp_path / "latest.pth", name="legacy_midaccum/latest.pth")
    flags = ("--batch-size", 4, "--grad-accumulation", 3)
    with asked_to_stop(18):
        ended = old_runs.start("rescue", tmp_path, *flags)
    assert ended.code == 75, ended.err
    assert journal(tmp_path)[17]["samples"] == 12
    assert min(journal(tmp_path)) == 17
    with asked_to_stop(22):
        ended = old_runs.start("rescue", tmp_path, *flags)
    assert ended.code == 75, ended.err
    assert "EXACT" in ended.out


def test_moments_stand_under_the_names_of_their_parameters(trained: Path) -> None:
    """Every moment of the first checkpoint is the file's, bit for bit, of the same name."""
    saved = find_checkpoint(trained / "checkpoints" / "step-00000024").part("optimizer")["state"]
    names = {
        "text_embedding.extension": "text_embedding.weight",
        "text_head.extension_weight": "text_head.weight",
        "text_head.extension_bias": "text_head.bias",
    }
    for kind in ("exp_avg", "exp_avg_sq"):
        recorded = recorded_weights(f"{kind}_step24")
        found = {path.removeprefix("model."): each[kind] for path, each in saved.items()}
        assert set(recorded) == {names.get(name, name) for name in found}
        for name, tensor in found.items():
            assert torch.equal(recorded[names.get(name, name)], tensor), name
    assert {24.0} == {each["step"].item() for each in saved.values()}


def test_the_state_of_the_scaler_goes_on(old_runs: OldRuns, tmp_path: Path) -> None:
    """A run in float16 scales its loss as before; on a processor, float16 has to be forced."""
    scaler = {
        "scale": 4096.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 2000,
        "_growth_tracker": 7,
    }
    old_runs.write(tmp_path / "latest.pth", lambda content: content.update(scaler=scaler))
    forced = PrecisionPlan(precision="fp16", has_scaler=True, has_tf32=False, reason="a test")
    with (
        patch("unbroken_tts.train.execution.plan_precision", lambda *_, **__: forced),
        asked_to_stop(24),
    ):
        ended = old_runs.start("rescue", tmp_path)
    assert ended.code == 75, ended.err
    assert scaler == newest(tmp_path).part("scaler")


def test_a_scaler_without_use_is_told(old_runs: OldRuns, tmp_path: Path) -> None:
    """In another precision than the old run's there is nothing to scale; a note says so."""
    scaler = dict.fromkeys(SCALER, 1.0)
    old_runs.write(tmp_path / "latest.pth", lambda content: content.update(scaler=scaler))
    ended = old_runs.start("rescue", tmp_path, "--dry-run")
    assert ended.code == 0, ended.err
    assert "NOTE: the old run scaled its loss" in ended.out
