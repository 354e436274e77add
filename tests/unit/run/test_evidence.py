"""What is measured at a save and compared at a resume, where something is in its way."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import unbroken
from support.changeable_training import Training
from unbroken.checks.check import CheckOutcome


def probed(directory: Path, *, breaks: bool = False) -> Training:
    """A training with a probe, whose model may have no memory left to be measured in."""
    training = Training(directory)

    def losses(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if breaks:
            raise MemoryError("none left")
        return {"loss": 1e-3 * training.model(batch["x"]).square().mean()}

    training.run.inspector.probe = unbroken.Probe({"x": torch.ones(2, 2)}, losses, [training.model])
    return training


def test_a_probe_that_cannot_be_measured_ends_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A save goes on without it and says so; the resume after it knows that it can't compare."""
    training = probed(tmp_path, breaks=True)
    training.run.resume()
    training.train(2)
    training.run.close()
    assert "The probe could not be measured: none left" in caplog.text
    report = probed(tmp_path).run.resume().checks
    (found,) = [each for each in report.findings if each.id == "probe-loss-reproduced"]
    assert ("cannot compare", "warning") == (found.outcome, found.severity)
    assert "MemoryError: none left" in found.numbers


def test_a_probe_lost_since_the_save_is_critical_until_it_is_known(tmp_path: Path) -> None:
    """What should be there to compare is missing: nothing goes on unseen, nothing is lost either."""
    training = probed(tmp_path)
    training.run.resume()
    training.train(2)
    training.run.close()
    kept = tmp_path / "probe.safetensors"
    kept.write_bytes(kept.read_bytes()[:-1] + b"~")
    with pytest.raises(unbroken.ResumeRefused, match="not the one that was kept"):
        probed(tmp_path).run.resume()
    with pytest.raises(unbroken.ResumeRefused, match="could not be measured: MemoryError"):
        probed(tmp_path, breaks=True).run.resume()
    training = probed(tmp_path)
    training.run.resume(accept=["probe-loss-reproduced"])
    assert 3 == training.train(3).step
    training.run.close()
    assert not probed(tmp_path).run.resume().checks.critical


def test_what_is_frozen_is_noted_before_the_first_step(tmp_path: Path) -> None:
    """What a first step moves has moved, though no checkpoint was taken before it."""
    training = Training(tmp_path, decay=0.0)
    training.run.inspector.frozen = {"model.0.weight": slice(0, 1)}
    training.run.resume()
    with torch.no_grad():
        training.model.get_parameter("0.weight")[0] += 1
    training.run.beginning.restored = None
    training.train(2)
    training.run.close()
    again = Training(tmp_path, decay=0.0)
    again.run.inspector.frozen = {"model.0.weight": slice(0, 1)}
    with pytest.raises(unbroken.ResumeRefused, match="Frozen rows moved"):
        again.run.resume()


def test_what_decays_is_not_frozen_at_the_start_either(tmp_path: Path) -> None:
    """A run whose every resume would be refused does not begin."""
    training = Training(tmp_path, decay=0.5)
    training.run.inspector.frozen = {"model.0.weight": None}
    with pytest.raises(unbroken.SettingsInvalid, match=r"0\.weight: decays by 0\.5 in optimizer"):
        training.run.resume()


def test_freezing_more_on_the_way_is_noted_from_there_on(tmp_path: Path) -> None:
    """A later start that declares something frozen goes on; what was frozen stays declared."""
    training = Training(tmp_path)
    training.run.resume()
    training.train(2)
    training.run.close()
    frozen = Training(tmp_path, decay=0.0)
    frozen.run.inspector.frozen = {"model.0.weight": slice(0, 0)}
    report = frozen.run.resume(accept=["optimizer-options-unchanged"])
    (found,) = [each for each in report.checks.findings if each.id == "frozen-rows-unmoved"]
    assert "only frozen since this start" in found.numbers
    frozen.train(3)
    frozen.run.close()
    with pytest.raises(unbroken.ResumeRefused, match="no longer frozen"):
        Training(tmp_path, decay=0.0).run.resume()


class Cycled:
    """A training whose schedule cycles the momentum; `rate` and `nesterov` can be other ones."""

    def __init__(self, directory: Path, *, nesterov: bool = False, **given: Any) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.1, momentum=0.9, nesterov=nesterov
        )
        schedule = given.pop("schedule", None) or partial(
            lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=40
        )
        self.run = unbroken.Run(
            directory,
            order=unbroken.StepBatches([str(i) for i in range(40)], None, 4, 3),
            model=self.model,
            optimizer=optimizer,
            scheduler=schedule(optimizer),
            save_every=0,
            **given,
        )
        self.report = self.run.resume()

    def train(self, until: int, micro: int = 4) -> Cycled:
        for step in self.run.steps(until):
            for each in step.micro_batches(micro):
                x = torch.tensor([[float(i), 1.0] for i in each.indices])
                step.backward(self.model(x).square().sum() / len(step.indices))
            step.update()
        self.run.close()
        return self


def test_options_that_a_schedule_moves_are_no_difference(tmp_path: Path) -> None:
    """The momentum stands elsewhere in its cycle than where it is built; the saved one goes on."""
    Cycled(tmp_path).train(3)
    resumed = Cycled(tmp_path).train(6)
    assert not resumed.report.checks.count(CheckOutcome.DIFFERS)
    assert not Cycled(tmp_path).train(8).report.checks.count(CheckOutcome.DIFFERS)


def test_options_that_the_code_asks_for_anew_are_one(tmp_path: Path) -> None:
    """It is told at every resume that the saved one is kept."""
    Cycled(tmp_path).train(3)
    for until in (6, 8):
        checks = Cycled(tmp_path, nesterov=True).train(until).report.checks
        found = checks.of("optimizer-options-unchanged")
        assert ("differs", "optimizer.groups.0.nesterov: is True, was False") == (
            found.outcome,
            found.numbers,
        )


def test_a_rate_that_falls_just_at_the_resume_is_the_schedule_s(tmp_path: Path) -> None:
    """The watch knows the rates that were written down at the save: no leap is told."""
    steps = partial(lr_scheduler.MultiStepLR, milestones=[6], gamma=0.1)
    Cycled(tmp_path, schedule=steps).train(6)
    resumed = Cycled(tmp_path, schedule=steps).train(9)
    assert [] == [each.sentence for each in resumed.run.monitor.remarks]


def test_a_schedule_that_leaves_what_was_written_down_is_told(tmp_path: Path) -> None:
    """Where no repeated step could tell: its factor changes behind the last look."""
    schedule = partial(lr_scheduler.LambdaLR, lr_lambda=lambda n: 0.9**n)
    Cycled(tmp_path, schedule=schedule).train(6)
    resumed = Cycled(tmp_path, schedule=schedule)
    for _ in resumed.run.steps(9):
        resumed.run.schedulers[0].lr_lambdas = [lambda n: 0.8**n]
        break
    resumed.train(9)
    assert ["learning rate"] == [each.kind for each in resumed.run.monitor.remarks]


def test_another_cut_under_batch_normalisation_is_told(tmp_path: Path) -> None:
    """It normalises over a micro-batch: another cut is another training, though a mild one."""
    facts = [{"execution": {"batch": n}} for n in (4, 2)]
    Cycled(tmp_path, facts=facts[0], may_change=["execution.batch"]).train(3)
    resumed = Cycled(tmp_path, facts=facts[1], may_change=["execution.batch"]).train(5, micro=2)
    said = "WARNING: micro-batches of 2, were 4: model.1 normalises across the samples of a"
    found = resumed.report.checks.of("batch-geometry-unchanged")
    assert found.headline.startswith(said)
    assert not found.is_critical
