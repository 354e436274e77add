"""Without a probe the first losses after a resume tell, by the rule and the words that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unbroken
from support.loss_curves import NOISES, LossCurve
from unbroken.journal.journal import read_lines
from unbroken.watch.first_loss import large_variance


def line(step: int, text: float, mel: float) -> dict[str, Any]:
    both = {"text_loss": text, "mel_loss": mel, "mel_top1": 0.1}
    return {"step": step, "loss": 0.2 * text + 0.8 * mel, **both}


def before(steps: int, text: float = 2.1234, mel: float = 1.8765) -> list[dict[str, Any]]:
    waves = [1 + 0.02 * (n % 5 - 2) for n in range(steps)]
    return [line(n + 1, text * wave, mel * wave) for n, wave in enumerate(waves)]


@pytest.mark.parametrize("steps", [12, 200])
def test_a_leap_is_said_in_the_words_that_are_known(steps: int) -> None:
    """One percentage per loss, those that make up the sum; a hit rate is none."""
    found = large_variance(before(steps), line(steps + 1, 6.2364, 4.3384))
    assert "CRITICAL: Large loss variance (193.7%, 131.2%)" == str(found)
    assert found is not None
    assert "text_loss 6.236, was 2.123, mel_loss 4.338, was 1.877" == found.told


def test_one_loss_that_leaps_is_enough() -> None:
    """The other's percentage is told beside it."""
    found = large_variance(before(60), line(61, 6.2364, 1.8765))
    assert "CRITICAL: Large loss variance (193.7%, 0.0%)" == str(found)


@pytest.mark.parametrize("factor", [0.2, 1.0, 1.49])
def test_half_again_as_high_is_the_floor(factor: float) -> None:
    """However quiet the run is; and what falls is no loss of what was learnt."""
    assert large_variance(before(60), line(61, 2.1234 * factor, 1.8765 * factor)) is None


@pytest.mark.parametrize(
    ("known", "now"),
    [
        (before(9), line(10, 60.0, 60.0)),
        ([], line(1, 60.0, 60.0)),
        (before(60), line(61, float("nan"), float("nan"))),
        ([{"step": n} for n in range(1, 60)], line(60, 60.0, 60.0)),
        ([{"step": n, "loss": None} for n in range(1, 60)], {"step": 60, "loss": 60.0}),
        (before(60), {"step": 61, "accuracy": 0.5}),
    ],
)
def test_what_cannot_be_compared_is_no_leap(
    known: list[dict[str, Any]], now: dict[str, Any]
) -> None:
    """Too few steps before, journals without losses, losses that are not finite."""
    assert large_variance(known, now) is None


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_no_leap(noise: str) -> None:
    """Small batches differ by half from step to step: 40 runs, resumed early or late, none is stopped."""
    for seed in range(40):
        for amount, known in ((None, 2000), (0.5, 2000), (0.5, 20)):
            curve = LossCurve(seed, noise, amount=amount)
            lines = curve.before()[:known]
            assert large_variance(lines, curve.line(lines[-1]["step"])) is None


class Training:
    """A training of a table by single numbers, whose samples' content can be another."""

    def __init__(
        self, directory: Path, content: float = 1.0, *, has_probe: bool = False, **options: Any
    ) -> None:
        torch.manual_seed(0)
        self.content = content
        self.model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4)
        order = unbroken.StepBatches([str(i) for i in range(40)], None, 4, 3)
        probe = unbroken.Probe({"x": torch.ones(1, 2)}, self.losses, [self.model])
        self.run = unbroken.Run(
            directory,
            order=order,
            model=self.model,
            optimizer=optimizer,
            save_every=0,
            probe=probe if has_probe else None,
            **options,
        )

    def losses(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"loss": (self.model(batch["x"]) - 3).square().mean()}

    def train(self, until: int) -> None:
        for step in self.run.steps(until):
            for micro in step.micro_batches(4):
                x = torch.tensor([[1.0 + 0.01 * i, 1.0] for i in micro.indices]) * self.content
                loss = (self.model(x) - 3).square().sum() / len(step.indices)
                step.backward(loss)
            step.update()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[int], Path]:
    """Saves a run without a probe after so many steps."""

    def save(steps: int) -> Path:
        training = Training(tmp_path)
        training.run.resume()
        training.train(steps)
        training.run.close()
        return tmp_path

    return save


@pytest.mark.parametrize("steps", [12, 40])
def test_a_leap_at_the_first_step_ends_a_run_without_a_probe(
    saved: Callable[[int], Path], steps: int
) -> None:
    """Exit code 3 at that very step, nothing newer is saved, and the history says why."""
    training = Training(saved(steps), content=-9.0)
    report = training.run.resume()
    assert "first step will be compared" in report.checks.of("probe-loss-reproduced").numbers
    with pytest.raises(unbroken.Diverged, match=r"CRITICAL: Large loss variance \(\d+\.\d%\)") as e:
        training.train(steps + 5)
    training.run.close()
    assert 3 == e.value.exit_code
    assert f"at step {steps + 1}" in e.value.what
    assert [f"step-{steps:08d}"] == [
        each.name for each in training.run.layout.checkpoints.iterdir() if each.name[0] != "."
    ]
    events = [
        each for each in read_lines(training.run.layout.history) if each["event"] == "diverged"
    ]
    assert [steps + 1] == [each["step"] for each in events]
    again = Training(training.run.layout.root)
    assert 0 == again.run.resume().steps_to_repeat  # the leap is no reference
    again.train(steps + 5)
    again.run.close()


def test_it_goes_on_where_that_was_asked_for(saved: Callable[[int], Path]) -> None:
    """`on_diverged="continue"`: told once, and trained on."""
    training = Training(saved(40), content=-9.0, on_diverged="continue")
    heard: list[str] = []
    training.run.resume()
    training.run.monitor.listen(heard.append)
    training.train(45)
    training.run.close()
    assert 1 == sum(each.startswith("CRITICAL: Large loss variance (") for each in heard)


def test_a_healthy_resume_without_a_probe_goes_on(saved: Callable[[int], Path]) -> None:
    """Nothing is said but what is to be compared."""
    training = Training(saved(40))
    training.run.resume()
    training.train(70)
    training.run.close()
    assert not [each for each in training.run.monitor.remarks if each.is_alarm]


def test_a_run_without_a_journal_has_nothing_to_compare(saved: Callable[[int], Path]) -> None:
    """The old rule needs the losses before the save."""
    root = saved(40)
    (root / "journal.jsonl").unlink()
    training = Training(root, content=-9.0)
    training.run.resume()
    training.train(45)
    assert 45 == training.run.position.step
    assert not [each for each in training.run.monitor.remarks if each.kind == "loss spike"]
    training.run.close()


def test_where_a_probe_has_told_the_losses_are_the_watchs_business(tmp_path: Path) -> None:
    """The probe was reproduced to the last bit: the model is whole, and a spike is an alarm only."""
    first = Training(tmp_path, has_probe=True)
    first.run.resume()
    first.train(40)
    first.run.close()
    training = Training(tmp_path, -9.0, has_probe=True)
    training.run.resume()
    training.train(60)
    training.run.close()
    assert "loss spike" in {each.kind for each in training.run.monitor.remarks}
