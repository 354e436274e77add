"""Which value acts after a resume, for each difference that can be accepted: a step is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unbroken
from support.changeable_training import Training
from unbroken.checks.catalogue import every_check
from unbroken.checks.check import OnAccept
from unbroken.checks.decision import Decision
from unbroken.checks.report import Report
from unbroken.errors import SettingsInvalid
from unbroken.journal.journal import read_lines
from unbroken.run.resume import find_source


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run saved after three steps."""
    training = Training(tmp_path / "run")
    training.run.resume()
    training.train(3)
    training.run.close()
    return tmp_path / "run"


def rate_at(update: int, rate: float = 0.1, total: int = 20) -> float:
    return rate * unbroken.warmup_cosine(2, total)(update)


def test_a_new_setting_acts_from_the_next_step_on_when_accepted(saved: Path) -> None:
    """With it go the schedule, the rates and the optimiser's options; the history says so."""
    training = Training(saved, rate=0.2)
    with pytest.raises(unbroken.ResumeRefused, match=r"rate is 0\.2, was 0\.1"):
        training.run.resume()
    training = Training(saved, rate=0.2)
    report = training.run.resume(accept=["settings-unchanged"])
    assert {"settings-unchanged", "schedule-unchanged", "learning-rate-continues"} <= {
        each.id for each in report.decision.use_new
    }
    assert rate_at(3, rate=0.2) == training.train(4).rate
    training.run.close()
    events = list(read_lines(training.run.layout.history))
    assert 1 == sum(each["event"] == "refused" for each in events)
    started = [each for each in events if each["event"] == "start"]
    assert "settings-unchanged" in started[-1]["checks"]["taken"]
    again = Training(saved, rate=0.2)
    assert not again.run.resume().decision.use_new


def test_another_schedule_acts_when_accepted(saved: Path) -> None:
    """The counter is the run's, the curve is the new one."""
    with pytest.raises(unbroken.ResumeRefused, match="total: is 40, was 20"):
        Training(saved, total=40).run.resume()
    training = Training(saved, total=40)
    training.run.resume(accept=["schedule-unchanged"])
    assert rate_at(3, total=40) == training.train(4).rate


def test_another_weight_decay_does_not_act_until_it_is_accepted(saved: Path) -> None:
    """It is a warning: the checkpoint's options act, and the report says so."""
    training = Training(saved, decay=0.9)
    report = training.run.resume()
    assert ["optimizer-options-unchanged"] == [each.id for each in report.decision.use_saved]
    assert 0.5 == training.optimizer.param_groups[0]["weight_decay"]
    training.run.close()
    training = Training(saved, decay=0.9)
    training.run.resume(accept=["optimizer-options-unchanged"])
    assert 0.9 == training.optimizer.param_groups[0]["weight_decay"]
    assert rate_at(3) == training.train(4).rate


def test_another_effective_batch_acts_and_is_recorded(saved: Path) -> None:
    """No id is needed; the samples to come follow from it."""
    training = Training(saved, batch=8)
    report = training.run.resume()
    taken = {each.id for each in report.decision.use_new}
    assert "batch-geometry-unchanged" in taken
    assert taken <= {"batch-geometry-unchanged", "next-samples-identical"}
    training.train(4)
    assert 8 == list(read_lines(training.run.layout.journal))[-1]["samples"]
    training.run.close()
    checkpoint = find_source(saved, "auto").checkpoint
    assert checkpoint is not None
    assert [[0, 3, 4]] == checkpoint.facts()["order"]["earlier"]


def test_another_fact_acts_when_accepted(saved: Path) -> None:
    """A fact of the user's own loop is compared by value and taken by id."""
    with pytest.raises(unbroken.ResumeRefused, match="mix is 2, was 1"):
        Training(saved, mix=2).run.resume()
    training = Training(saved, mix=2)
    training.run.resume(accept=["other-facts-unchanged"])
    training.train(4)
    training.run.close()
    checkpoint = find_source(saved, "auto").checkpoint
    assert checkpoint is not None
    assert 2 == checkpoint.facts()["mix"]


def test_other_trained_parameters_are_accepted_as_they_were_saved(saved: Path) -> None:
    """Accepted means known: what was trained goes on being trained."""
    with pytest.raises(unbroken.ResumeRefused, match="requires_grad"):
        Training(saved, trained=False).run.resume()
    training = Training(saved, trained=False)
    training.run.resume(accept=["trainable-parameters-unchanged"])
    bias = training.model.get_parameter("0.bias")
    assert bias.requires_grad
    before = bias.detach().clone()
    training.train(4)
    assert not torch.equal(before, bias)


def test_a_person_lets_the_saved_value_act(saved: Path) -> None:
    """Confirmed, the run goes on with what was saved; asked is compared, not taken."""
    facts = {"settings": {"rate": 0.1}, "mix": 1}

    def resumed(confirm: Callable[[Report, Decision], bool]) -> Training:
        # A trainer builds with the saved values and says what was asked for.
        training = Training(saved, facts=facts)
        training.run.inspector.requested_facts = training.run.facts | {"settings": {"rate": 0.7}}
        training.run.resume(confirm=confirm)
        return training

    seen: list[str] = []

    def refuse(_report: Report, decision: Decision) -> bool:
        seen.extend(each.id for each in decision.blocking)
        return False

    with pytest.raises(unbroken.ResumeRefused):
        resumed(refuse)
    assert ["settings-unchanged"] == seen
    assert rate_at(3) == resumed(lambda _report, _decision: True).train(4).rate


def test_objects_of_a_refused_resume_do_not_train(saved: Path) -> None:
    """After a refusal nothing can be trained by mistake."""
    training = Training(saved, mix=2)
    with pytest.raises(unbroken.ResumeRefused):
        training.run.resume()
    with pytest.raises(RuntimeError):
        training.train(4)


def test_an_unknown_id_is_refused_before_anything(saved: Path) -> None:
    """A slip of the finger accepts nothing."""
    with pytest.raises(SettingsInvalid, match="settings-unchanged"):
        Training(saved).run.resume(accept=["setting-unchanged"])


def test_each_id_that_takes_the_new_value_is_tried_here() -> None:
    """A new check that can be accepted needs a test of what acts."""
    here = Path(__file__).read_text(encoding="utf-8")
    takes = [each.id for each in every_check() if each.on_accept is OnAccept.TAKE_NEW]
    assert [] == [each for each in takes if f'"{each}"' not in here]


def test_looking_changes_nothing(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Observing twice gives the same, and gradients, modes and generators are as before."""
    training = Training(saved)
    with caplog.at_level(logging.WARNING):
        training.run.resume()
    training.model[1].eval()
    weight = training.model.get_parameter("0.weight")
    weight.grad = torch.ones_like(weight)
    generator = torch.get_rng_state()
    first = training.run.inspector.live()
    second = training.run.inspector.live()
    assert (first.leaves, first.values, first.evidence) == (
        second.leaves,
        second.values,
        second.evidence,
    )
    assert torch.equal(generator, torch.get_rng_state())
    assert not training.model[1].training
    assert training.model[0].training
    assert weight.grad is not None
    assert torch.equal(torch.ones(3, 2), weight.grad)


def test_a_part_that_does_not_take_its_state_is_named(tmp_path: Path) -> None:
    """The live objects are looked at again; what did not arrive ends the resume, not the run."""

    class Forgetful(nn.Linear):
        def load_state_dict(self, *_args: Any, **_kwargs: Any) -> Any:
            return None

    def built(kind: type[nn.Linear], seed: int) -> unbroken.Run:
        torch.manual_seed(seed)
        model = kind(2, 1)
        return unbroken.Run(
            tmp_path,
            order=unbroken.StepBatches([str(i) for i in range(8)], None, 2, 3),
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        )

    first = built(nn.Linear, 0)
    first.resume()
    first.save()
    first.close()
    second = built(Forgetful, 1)
    with pytest.raises(unbroken.ResumeRefused, match=r"model\.weight: has other content"):
        second.resume()
    with pytest.raises(RuntimeError):
        next(iter(second.steps(1)))
    second.close()


def zero_moments(training: Training) -> None:
    for each in training.optimizer.state.values():
        each["exp_avg"].zero_()


def initialise(training: Training) -> None:
    layer = training.model[1]
    assert isinstance(layer, nn.Linear)
    layer.reset_parameters()


TOUCHES: dict[str, tuple[str, Callable[[Training], object]]] = {
    "a weight": ("weights-identical", lambda t: t.model.get_parameter("0.weight").data.add_(1e-7)),
    "the moments": ("optimizer-state-identical", zero_moments),
    "a rate": ("rate-is-the-schedules", lambda t: t.optimizer.param_groups[0].update(lr=0.3)),
    "the schedule": ("learning-rate-continues", lambda t: t.run.schedulers[0].step()),
    "an option": (
        "optimizer-state-identical",
        lambda t: t.optimizer.param_groups[0].update(weight_decay=0.1),
    ),
    "an initialisation": ("weights-identical", initialise),
}


@pytest.mark.parametrize("name", TOUCHES)
def test_what_is_touched_between_the_resume_and_the_first_step_is_named(
    saved: Path, name: str
) -> None:
    """What was checked is what is trained: nothing acts in between unseen, and nothing trains then."""
    training = Training(saved)
    training.run.resume()
    expected, touch = TOUCHES[name]
    touch(training)
    with pytest.raises(unbroken.ResumeRefused, match="Between Run") as caught:
        training.train(4)
    assert expected in {each.id for each in caught.value.report.critical}
    with pytest.raises(RuntimeError):
        training.train(4)


def test_modes_and_moves_before_the_first_step_are_free(saved: Path) -> None:
    """`model.train()`, `zero_grad()` and validation are what loops do there."""
    training = Training(saved)
    training.run.resume()
    training.model.eval()
    with unbroken.isolated(training.model, seed=1):
        training.model(torch.ones(1, 2))
    training.model.train()
    training.optimizer.zero_grad()
    assert 4 == training.train(4).step


def without_schedule(
    directory: Path, rate: float, until: int, accept: tuple[str, ...] = ()
) -> tuple[float, list[str]]:
    """Train with one rate; return the rate in force at the end, and what the resume told."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    order = unbroken.StepBatches([str(i) for i in range(40)], None, 4, 3)
    run = unbroken.Run(directory, order=order, model=model, optimizer=optimizer, save_every=0)
    report = run.resume(accept=accept)
    for step in run.steps(until):
        for micro in step.micro_batches(4):
            step.backward(model(torch.ones(len(micro.indices), 2)).square().sum() / 4)
        step.update()
    run.close()
    return optimizer.param_groups[0]["lr"], [each.id for each in report.checks.warnings]


def test_another_rate_in_the_code_is_told_where_there_is_no_schedule(tmp_path: Path) -> None:
    """The saved one acts until the new one is accepted; then that is the run's."""
    assert (0.2, []) == without_schedule(tmp_path, 0.2, 3)
    rate, told = without_schedule(tmp_path, 0.1, 5)
    assert (0.2, True) == (rate, "optimizer-options-unchanged" in told)
    assert 0.1 == without_schedule(tmp_path, 0.1, 7, ("optimizer-options-unchanged",))[0]
    rate, told = without_schedule(tmp_path, 0.1, 9)
    assert (0.1, False) == (rate, "optimizer-options-unchanged" in told)
