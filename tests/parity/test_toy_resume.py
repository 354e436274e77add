"""A training that was stopped anywhere, by any means, is the training that was not stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

import unbroken
from support import toy_training as toy
from support.evidence import journal_of, state_of, uninterrupted
from support.sameness import same
from unbroken.order.step_batches import sample_digest

UNTIL = 9
"""Steps: two epochs of four and the first of a third."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[int, Any]]:
    """State and journal of the training that nobody stopped."""
    return uninterrupted(tmp_path_factory.mktemp("whole"), UNTIL)


def every_position() -> list[tuple[int, int]]:
    order = unbroken.StepBatches(
        [f"sample-{i}" for i in range(toy.SAMPLES)],
        [i * 7 % 11 for i in range(toy.SAMPLES)],
        toy.EFFECTIVE,
        7,
    )
    found: list[tuple[int, int]] = []
    for micro in order.micro_batches(unbroken.Position(), toy.MICRO):
        if micro.position.epoch == 2:
            return found
        found.append((micro.position.step, micro.position.samples))
    return found


def stop_at(
    directory: Path, step: int, samples: int, **options: Any
) -> tuple[toy.Training, unbroken.Stopped]:
    """Train until a stop is asked for before the micro-batch at a position, and is honoured."""
    training = toy.build(directory, save_every=0, **options)

    def ask(position: unbroken.Position) -> None:
        if (position.step, position.samples) == (step, samples):
            training.run.stop.ask("a test")

    with pytest.raises(unbroken.Stopped) as stopped:
        toy.train(training, UNTIL, ask)
    training.run.close()
    return training, stopped.value


def continue_to_end(directory: Path, **options: Any) -> toy.Training:
    training = toy.build(directory, save_every=0, **options)
    toy.train(training, UNTIL)
    training.run.close()
    return training


# --- in one process: every position ---------------------------------------------------------------


@pytest.mark.parametrize(("step", "samples"), every_position())
def test_stopped_at_every_micro_batch_of_two_epochs(
    tmp_path: Path, whole: tuple[Any, Any], step: int, samples: int
) -> None:
    """Saved behind any micro-batch, also inside a step, the rest of the training is the same."""
    stop_at(tmp_path, step, samples, grace_seconds=0)
    second = continue_to_end(tmp_path)
    assert "resumed" == second.report.outcome
    assert same(whole, (state_of(second), journal_of(tmp_path)))


@pytest.mark.parametrize(("step", "samples"), [(0, 0), (3, 4), (4, 2), (8, 0)])
def test_a_stop_trains_on_to_have_something_to_repeat(
    tmp_path: Path, whole: tuple[Any, Any], step: int, samples: int
) -> None:
    """While grace remains, steps are trained behind the save; the next start repeats them equal."""
    first, _ = stop_at(tmp_path, step, samples)
    written = journal_of(tmp_path)
    second = toy.build(tmp_path, save_every=0)
    beyond = first.run.position.step - second.run.position.step
    assert min(3, UNTIL - step) >= second.report.steps_to_repeat == beyond > 0
    toy.train(second, UNTIL)
    second.run.close()
    assert same(whole, (state_of(second), journal_of(tmp_path)))
    assert same(written, {n: line for n, line in journal_of(tmp_path).items() if n in written})


def test_stopped_again_and_again(tmp_path: Path, whole: tuple[Any, Any]) -> None:
    """A stop at every single micro-batch, one start each, changes nothing."""
    starts = 0
    while True:
        starts += 1
        training = toy.build(tmp_path, save_every=0, grace_seconds=0)
        training.run.stop.ask("a test") if training.run.position.step < UNTIL else None
        try:
            toy.train(training, UNTIL)
            break
        except unbroken.Stopped:
            # A request from before the first step is honoured at once: go one micro-batch on.
            training.run.close()
            step_on(tmp_path)
    training.run.close()
    assert starts > UNTIL
    assert same(whole, (state_of(training), journal_of(tmp_path)))


def step_on(directory: Path) -> None:
    training = toy.build(directory, save_every=0, grace_seconds=0)
    with pytest.raises(unbroken.Stopped):
        toy.train(training, UNTIL + 1, lambda _: training.run.stop.ask("a test"))
    training.run.close()


@pytest.mark.parametrize("micro", [1, 4, 6])
def test_another_cut_has_the_same_samples(
    tmp_path: Path, whole: tuple[Any, Any], micro: int
) -> None:
    """A micro-batch of another size, chosen at a resume, moves no sample and no learning rate."""
    stop_at(tmp_path, 5, 0, grace_seconds=0)
    second = toy.build(tmp_path, save_every=0)
    toy.train(second, UNTIL, micro=micro)
    second.run.close()
    for name in ("sample_digest", "samples", "lr", "epoch", "updates"):
        expected = {step: line[name] for step, line in whole[1].items()}
        assert expected == {step: line[name] for step, line in journal_of(tmp_path).items()}


def test_without_dropout_the_cut_changes_only_rounding(tmp_path: Path) -> None:
    """Losses are sums over the step batch: the cut moves the trajectory by rounding only."""
    found = []
    for micro in (1, 2, 6):
        training = toy.build(tmp_path / str(micro), save_every=0, dropout=0.0)
        toy.train(training, UNTIL, micro=micro)
        training.run.close()
        found.append((journal_of(tmp_path / str(micro)), training.model.state_dict()))
    for lines, weights in found[1:]:
        for step, line in lines.items():
            assert found[0][0][step]["loss"] == pytest.approx(line["loss"], rel=1e-5)
        for name, weight in weights.items():
            torch.testing.assert_close(found[0][1][name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("every", [1, 3])
def test_validation_changes_nothing(tmp_path: Path, whole: tuple[Any, Any], every: int) -> None:
    """However often an isolated block runs, the training is the same."""
    training = toy.build(tmp_path, save_every=2)

    def validate(result: unbroken.StepResult) -> None:
        if result.step % every == 0:
            with unbroken.isolated(training.model, seed=result.step):
                training.model(torch.randn(3, 4))
                torch.randperm(5)
            training.run.metrics["val_loss"] = 1.0 / result.step

    toy.train(training, UNTIL, after_step=validate)
    training.run.close()
    assert same(whole, (state_of(training), journal_of(tmp_path)))


def test_what_the_loop_draws_between_steps_follows_from_the_step(tmp_path: Path) -> None:
    """It differs from step to step, and a resume draws what the run that was never stopped drew."""

    def drawn_by(directory: Path, until: int) -> list[float]:
        training, drawn = toy.build(directory, save_every=0), []
        toy.train(training, until, after_step=lambda _: drawn.append(torch.rand(1).item()))
        training.run.close()
        return drawn

    whole = drawn_by(tmp_path / "whole", 4)
    assert 4 == len(set(whole))
    assert whole == drawn_by(tmp_path / "stopped", 2) + drawn_by(tmp_path / "stopped", 4)


def test_the_journal_names_the_samples_that_were_used(
    tmp_path: Path, whole: tuple[Any, Any]
) -> None:
    """The digest of each line is that of the samples that went through the model, in order."""
    used: dict[int, list[str]] = {}
    training = toy.build(tmp_path, save_every=0)
    for step in training.run.steps(UNTIL):
        for micro in step.micro_batches(toy.MICRO):
            ids = [training.run.order.ids[i] for i in micro.indices]
            used.setdefault(step.number, []).extend(ids)
            features = torch.stack([toy.data(i)[0] for i in micro.indices])
            step.backward(training.model(features).square().sum())
        step.update()
    training.run.close()
    expected = {step: sample_digest(ids) for step, ids in used.items()}
    assert expected == {step: line["sample_digest"] for step, line in journal_of(tmp_path).items()}
    assert expected == {step: line["sample_digest"] for step, line in whole[1].items()}
    for steps in ((1, 2, 3, 4), (5, 6, 7, 8)):
        assert sorted(training.run.order.ids) == sorted(chain(*(used[n] for n in steps)))


# --- controls: what is broken on purpose is seen --------------------------------------------------


def without_seeds(training: toy.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.run, "seed_micro_batch", lambda: None)


def with_a_shifted_order(training: toy.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    order, at = training.run.order, training.run.order.at
    monkeypatch.setattr(order, "at", lambda position: at(order.after(position)))


def without_moments(training: toy.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    training.optimizer.state.clear()


def without_gradients(training: toy.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    training.optimizer.zero_grad()


def without_sums(training: toy.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    training.run.state.sums.clear()


def with_a_repeated_micro_batch(training: toy.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    position = training.run.position
    training.run.state.position = replace(position, samples=position.samples - toy.MICRO)


def with_a_rate_one_step_ahead(training: toy.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    training.run.schedulers[0].step()


def with_one_changed_bit(training: toy.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = next(training.model.parameters()).detach()
    weight.view(torch.int32)[0, 0] ^= 1


def untouched(training: toy.Training, monkeypatch: pytest.MonkeyPatch) -> None:
    pass


@pytest.mark.parametrize(
    "fault",
    [
        untouched,
        without_seeds,
        with_a_shifted_order,
        without_moments,
        without_gradients,
        without_sums,
        with_a_repeated_micro_batch,
        with_a_rate_one_step_ahead,
        with_one_changed_bit,
    ],
)
def test_the_comparison_sees_what_is_broken_on_purpose(
    tmp_path: Path,
    whole: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[toy.Training, pytest.MonkeyPatch], None],
) -> None:
    """Each thing left out of a resume makes the comparison fail; with nothing left out it holds."""
    stop_at(tmp_path, 5, 0, grace_seconds=0)
    second = toy.build(tmp_path, save_every=0)
    assert (5, 2) == (second.run.position.step, second.run.position.samples)
    fault(second, monkeypatch)
    second.run.beginning.restored = None  # else most are refused before the first step
    toy.train(second, UNTIL)
    second.run.close()
    assert (fault is untouched) == same(whole, (state_of(second), journal_of(tmp_path)))
