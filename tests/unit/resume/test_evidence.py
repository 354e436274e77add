"""What is measured at a save and compared at a resume, where something is in its way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import unbroken
from support.changeable_training import Training


def probed(directory: Path, *, breaks: bool = False) -> Training:
    """A training with a probe, whose model may have no memory left to be measured in."""
    training = Training(directory)

    def losses(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if breaks:
            raise MemoryError("none left")
        return {"loss": 1e-3 * training.model(batch["x"]).square().mean()}

    training.run.observer.probe = unbroken.Probe({"x": torch.ones(2, 2)}, losses, [training.model])
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
    training = Training(tmp_path)
    training.run.observer.frozen = {"model.0.weight": slice(0, 1)}
    training.run.resume()
    with torch.no_grad():
        training.model[0].weight[0] += 1
    training.run.restored = None
    training.train(2)
    training.run.close()
    again = Training(tmp_path)
    again.run.observer.frozen = {"model.0.weight": slice(0, 1)}
    with pytest.raises(unbroken.ResumeRefused, match="Frozen rows moved"):
        again.run.resume()


def test_freezing_more_on_the_way_is_noted_from_there_on(tmp_path: Path) -> None:
    """A later start that declares something frozen goes on; what was frozen stays declared."""
    training = Training(tmp_path)
    training.run.resume()
    training.train(2)
    training.run.close()
    frozen = Training(tmp_path, decay=0.0)
    frozen.run.observer.frozen = {"model.0.weight": slice(0, 0)}
    report = frozen.run.resume(accept=["optimizer-options-unchanged"])
    (found,) = [each for each in report.checks.findings if each.id == "frozen-rows-unmoved"]
    assert "frozen from this start on" in found.numbers
    frozen.train(3)
    frozen.run.close()
    with pytest.raises(unbroken.ResumeRefused, match="no longer frozen"):
        Training(tmp_path, decay=0.0).run.resume()
