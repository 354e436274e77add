"""What a resume makes of other files and libraries, and what the journal tells of every group."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

import unbroken
from unbroken.run import objects
from unbroken.state.software import software


def training(directory: Path, model: torch.nn.Module) -> tuple[unbroken.Run, unbroken.ResumeReport]:
    groups = [{"params": [each], "lr": 0.1 / n} for n, each in enumerate(model.parameters(), 1)]
    run = unbroken.Run(
        directory,
        order=unbroken.StepBatches(["a", "b"], None, 2, 1),
        model=model,
        optimizer=torch.optim.SGD(groups),
        save_every=0,
    )
    return run, run.resume()


def train(
    directory: Path, model: torch.nn.Module, until: int, scale: float = 1.0
) -> unbroken.ResumeReport:
    """Train three steps more than are saved, and leave as a killed process does."""
    run, report = training(directory, model)
    for step in run.steps(99):
        for _ in step.micro_batches(2):
            step.backward(model(torch.ones(2, 3)).square().mean() * scale)
        step.update()
        if step.number == until - 3:
            run.save()
        if step.number == until:
            break
    run.close()
    return report


def test_an_edited_file_is_a_note_and_named_at_a_divergence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People add a print: that refuses nothing; where a step comes out otherwise it is a cause."""
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "a_model_that_is_edited.py"
    source.write_text("import torch\n\nclass Mine(torch.nn.Linear):\n    pass\n", "utf-8")
    module = importlib.import_module(source.stem)

    def model() -> torch.nn.Module:
        torch.manual_seed(0)
        found: torch.nn.Module = module.Mine(3, 1)
        return found

    train(tmp_path / "run", model(), 5)
    source.write_text(source.read_text("utf-8") + "print\n", "utf-8")
    name = f"environment.files.{source.stem}"
    with pytest.raises(unbroken.Diverged, match=f"changed since: {name} is"):
        train(tmp_path / "run", model(), 9, scale=1.01)
    report = train(tmp_path / "run", model(), 9)
    assert [name] == [each.name for each in report.changed]
    assert [] == [each.id for each in report.checks.findings if each.outcome == "differs"]


def test_old_facts_raise_no_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that names no software goes on as if nothing were new."""
    monkeypatch.setattr(objects, "software", lambda _: {})
    torch.manual_seed(0)
    train(tmp_path, torch.nn.Linear(3, 1), 5)
    monkeypatch.setattr(objects, "software", software)
    report = train(tmp_path, torch.nn.Linear(3, 1), 9)
    assert () == report.changed
    assert [] == [each.id for each in report.checks.findings if each.outcome == "differs"]


def test_the_journal_tells_the_rate_of_every_group(tmp_path: Path) -> None:
    """The second group's too, at each step."""
    train(tmp_path, torch.nn.Linear(3, 1), 5)
    for line in unbroken.RunDirectory(tmp_path).lines():
        assert {"optimizer.0": 0.1, "optimizer.1": 0.05} == line["lrs"]
