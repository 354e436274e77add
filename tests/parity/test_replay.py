"""What a resume proves by repeating steps, in real trainings with and without a planted fault."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import unbroken
from support import toy_training as toy
from unbroken.checkpoint.layout import Layout
from unbroken.journal.change import EnvironmentChange
from unbroken.journal.journal import read_lines
from unbroken.journal.past import Reference
from unbroken.replay.replay import ReplayOutcome, ReplayVerdict
from unbroken.state.facts import KERNEL_VARIABLES

SAVED, ENDED = 6, 14
"""Steps at the checkpoint, and at the end of the process that wrote the journal."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _kernels_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some machines choose kernels by their environment; here the tests do."""
    for name in KERNEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def broken_off(tmp_path: Path) -> Path:
    """Return a run with a checkpoint and a journal that goes on beyond it."""
    return break_off(tmp_path / "run")


def break_off(directory: Path, **options: Any) -> Path:
    training = toy.build(directory, save_every=SAVED, keep=9, **options)
    toy.train(training, SAVED)
    training.run.due.every = 0
    with pytest.raises(KeyboardInterrupt):
        toy.train(training, 99, after_step=end_after(ENDED))
    training.run.close()
    return directory


def end_after(step: int) -> Callable[[unbroken.StepResult], None]:
    def end(result: unbroken.StepResult) -> None:
        if result.step == step:
            raise KeyboardInterrupt

    return end


def events(directory: Path, name: str) -> list[dict[str, Any]]:
    return [each for each in read_lines(Layout(directory).history) if each.get("event") == name]


def repeated(
    directory: Path,
    plant: Callable[[toy.Training], None] = toy.no_hook,
    *,
    micro: int = toy.MICRO,
    **options: Any,
) -> ReplayVerdict:
    """Resume with something planted after it, repeat, and return the verdict."""
    training = toy.build(directory, save_every=0, **options)
    training.run.beginning.restored = None  # else most changes are refused before the first step
    plant(training)
    try:
        toy.train(training, ENDED, micro=micro)
    except unbroken.Diverged:
        pass
    finally:
        training.run.close()
    assert training.run.monitor.verdict is not None
    return training.run.monitor.verdict


# --- what is planted ------------------------------------------------------------------------------


def higher_rate(training: toy.Training) -> None:
    schedule = training.run.schedulers[0]
    schedule.base_rates = [1.01 * each for each in schedule.base_rates]
    schedule.apply()


@torch.no_grad()
def larger_leaf(training: toy.Training) -> None:
    next(training.model.parameters()).mul_(1.01)


@torch.no_grad()
def larger_element(training: toy.Training) -> None:
    weights = next(training.model.parameters()).view(-1)
    weights[weights.abs().argmax()] *= 1.01


def other_momentum(training: toy.Training) -> None:
    for state in training.optimizer.state.values():
        state["exp_avg"].mul_(1.01)


def no_dropout(training: toy.Training) -> None:
    dropout = training.model[1]
    assert isinstance(dropout, torch.nn.Dropout)
    dropout.p = 0.0


def other_order(training: toy.Training) -> None:
    training.run.order.seed = 8
    training.run.order._epoch = -1  # noqa: SLF001  # as if no epoch had been laid out yet


def other_gradient(training: toy.Training) -> None:
    next(training.model.parameters()).register_hook(lambda gradient: 1.01 * gradient)


def other_content(training: toy.Training) -> None:
    training.model.get_submodule("0").register_forward_pre_hook(lambda _, given: (1.01 * given[0],))


def as_if_on_other_threads(training: toy.Training) -> None:
    """Have every journalled step computed with another number of threads, by its record."""
    references = toy.references_of(training)
    change = EnvironmentChange("environment.threads", 2, 1)
    for step, each in references.items():
        references[step] = Reference(each.line, (change,))


FAULTS = [
    (higher_rate, "another learning rate"),
    (larger_leaf, "the weights differ: something changed them after the restore"),
    (larger_element, "weights"),
    (other_momentum, "optimizer state"),
    (no_dropout, "a setting of the model"),
    (other_content, "no checkpoint holds"),
    (other_order, "other samples"),
    (other_gradient, "backward pass"),
]

# --------------------------------------------------------------------------------------------------


def test_a_healthy_resume_is_exact(broken_off: Path) -> None:
    """Every step between the checkpoint and the end comes out equal; the history says so."""
    verdict = repeated(broken_off)
    assert "EXACT (8/8 steps: data, loss, gradient, update)" == str(verdict)
    assert [str(verdict)] == [each["sentence"] for each in events(broken_off, "replay")]


def test_the_steps_after_a_stop_are_repeated(tmp_path: Path) -> None:
    """A run stopped on request has trained on, so its resume is proved as well."""
    training = toy.build(tmp_path, save_every=0)

    def ask(position: unbroken.Position) -> None:
        if (position.step, position.samples) == (4, 2):
            training.run.stop.ask("a test")

    with pytest.raises(unbroken.Stopped):
        toy.train(training, 99, ask)
    training.run.close()
    verdict = repeated(tmp_path)
    assert ReplayOutcome.EXACT is verdict.outcome
    assert verdict.repeated == verdict.known >= 2


def test_a_new_run_has_nothing_to_prove(tmp_path: Path) -> None:
    """Where a run begins there is no verdict, and none in the history."""
    training = toy.build(tmp_path)
    toy.train(training, 2)
    training.run.close()
    assert training.run.monitor.verdict is None
    assert [] == events(tmp_path, "replay")


def test_a_finished_run_is_unproved(tmp_path: Path) -> None:
    """A checkpoint at the very end leaves nothing to repeat."""
    training = toy.build(tmp_path)
    toy.train(training, 3)
    training.run.close()
    verdict = repeated(tmp_path)
    assert str(verdict).startswith("UNPROVED (the journal has no step beyond the checkpoint; ")


@pytest.mark.parametrize(("plant", "words"), FAULTS)
def test_a_planted_fault_is_diverged_with_its_cause(
    broken_off: Path, plant: Callable[[toy.Training], None], words: str
) -> None:
    """One per cent of a rate, of a weight or of the momentum is found at its first step."""
    verdict = repeated(broken_off, plant)
    assert ReplayOutcome.DIVERGED is verdict.outcome
    assert words in verdict.reason
    assert verdict.repeated <= 2


@pytest.mark.parametrize(("plant", "words"), FAULTS)
def test_another_environment_excuses_no_fault(
    broken_off: Path, plant: Callable[[toy.Training], None], words: str
) -> None:
    """The same faults, where the number of threads differs by the record."""

    def both(training: toy.Training) -> None:
        as_if_on_other_threads(training)
        plant(training)

    verdict = repeated(broken_off, both)
    assert ReplayOutcome.DIVERGED is verdict.outcome
    assert words in verdict.reason


def test_diverged_ends_the_run_before_anything_newer_is_saved(broken_off: Path) -> None:
    """The error has exit code 3 and three sentences; the checkpoints are those that were there."""
    before = sorted(each.name for each in Layout(broken_off).checkpoints.iterdir())
    training = toy.build(broken_off, save_every=1)
    training.run.beginning.restored = None
    higher_rate(training)
    with pytest.raises(unbroken.Diverged, match=r"DIVERGED at step 7: another learning rate") as e:
        toy.train(training, ENDED)
    training.run.close()
    assert 3 == e.value.exit_code
    assert before == sorted(each.name for each in Layout(broken_off).checkpoints.iterdir())
    assert [7] == [each["step"] for each in events(broken_off, "diverged")]


def test_the_lines_of_a_diverged_start_are_no_reference(broken_off: Path) -> None:
    """After the cause is mended the run is compared with what was there before it."""
    assert ReplayOutcome.DIVERGED is repeated(broken_off, larger_leaf).outcome
    assert ReplayOutcome.DIVERGED is repeated(broken_off, larger_leaf).outcome
    assert "EXACT (8/8 steps" in str(repeated(broken_off))


def test_a_person_can_go_on_with_another_training(
    broken_off: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The policy lets it train and save; from then on that training is the reference."""
    with caplog.at_level(logging.WARNING, "unbroken"):
        training = toy.build(broken_off, save_every=0, on_diverged="continue")
        training.run.beginning.restored = None
        larger_leaf(training)
        toy.train(training, 8)
        training.run.save()
        with pytest.raises(KeyboardInterrupt):
            toy.train(training, 99, after_step=end_after(10))
        training.run.close()
    assert "[Replay] DIVERGED at step 7" in caplog.text
    assert [True] == [each["continued"] for each in events(broken_off, "diverged")]
    verdict = repeated(broken_off)
    assert "EXACT (2/2 steps" in str(verdict)  # not one of the steps 11 to 14 that were given up


def test_another_cut_without_dropout_is_equivalent_at_most(tmp_path: Path) -> None:
    """Rounding is all that may differ, and the cut is named where it does."""
    verdict = repeated(break_off(tmp_path, dropout=0.0), dropout=0.0, micro=3)
    assert verdict.outcome in (ReplayOutcome.EQUIVALENT, ReplayOutcome.EXACT)
    assert ReplayOutcome.EXACT is verdict.outcome or "micro-batches of 3, were 2" in verdict.reason


def test_another_cut_without_dropout_excuses_no_fault(tmp_path: Path) -> None:
    """One per cent of a leaf is more than rounding."""
    verdict = repeated(break_off(tmp_path, dropout=0.0), larger_leaf, dropout=0.0, micro=3)
    assert ReplayOutcome.DIVERGED is verdict.outcome


def test_another_cut_with_dropout_is_unproved(broken_off: Path) -> None:
    """Other masks are another loss: samples and rate agree, and no more is claimed."""
    verdict = repeated(broken_off, micro=3)
    assert ReplayOutcome.UNPROVED is verdict.outcome
    assert "micro-batches of 3, were 2" in verdict.reason
    assert "other dropout masks" in verdict.reason


def test_a_start_tells_what_it_computed_with(broken_off: Path) -> None:
    """Each start writes its environment, so the reference is judged by its own, not the save's."""
    torch.set_num_threads(2)
    training = toy.build(broken_off, save_every=0)
    with pytest.raises(KeyboardInterrupt):
        toy.train(training, 99, after_step=end_after(8))
    training.run.close()
    torch.set_num_threads(1)
    training = toy.build(broken_off, save_every=0)
    references = toy.references_of(training)
    named = {step: [str(c) for c in each.changes] for step, each in references.items()}
    training.run.close()
    threads = ["environment.threads is 1, was 2"]
    assert {7: threads, 8: threads} | {step: [] for step in range(9, ENDED + 1)} == named


@pytest.mark.parametrize(
    ("is_known", "outcome"), [(True, ReplayOutcome.DIVERGED), (False, ReplayOutcome.UNPROVED)]
)
def test_a_run_that_begins_again_is_proved_where_its_beginning_is_known(
    tmp_path: Path, is_known: bool, outcome: ReplayOutcome
) -> None:
    """Begun with the same facts and weights, another step is another training; else it proves nothing."""
    training = toy.build(tmp_path, save_every=0)
    with pytest.raises(KeyboardInterrupt):
        toy.train(training, 99, after_step=end_after(3))
    training.run.close()
    if not is_known:
        training.run.layout.start_file.unlink()
    verdict = repeated(tmp_path, larger_leaf)
    assert outcome is verdict.outcome
    assert is_known or "began again without a checkpoint" in verdict.reason


def test_lines_can_be_heard_instead_of_logged(
    broken_off: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that prints gives a function; the log stays silent then."""
    heard: list[str] = []
    with caplog.at_level(logging.INFO, "unbroken"):
        training = toy.build(broken_off, save_every=0)
        training.run.monitor.listen(heard.append)
        toy.train(training, ENDED)
        training.run.close()
    assert ["[Replay] EXACT (8/8 steps: data, loss, gradient, update)"] == heard
    assert "[Replay]" not in caplog.text


def test_a_variable_that_chooses_other_kernels_is_named(
    broken_off: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`MKL_CBWR` and the like move the last bits: a change of environment, not of the training."""
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    training = toy.build(broken_off, save_every=0)
    found = training.report.checks.of("execution-unchanged")
    assert "environment.kernels is 'MKL_CBWR=COMPATIBLE', was absent" == found.numbers
    toy.train(training, ENDED)
    training.run.close()
    verdict = training.run.monitor.verdict
    assert verdict is not None
    assert verdict.outcome in (
        ReplayOutcome.EXACT,
        ReplayOutcome.EQUIVALENT,
    )  # whichever kernels there are
