"""A loop that makes the calls itself trains the same run as `steps`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.toy_training import MICRO, build, data, train
from unbroken import Run, StateMismatch, StepBatches, Stopped
from unbroken.journal.journal import last_line_of_each_step
from unbroken.replay.replay import ReplayOutcome

STEPS = 9


def test_the_calls_of_steps_train_the_same_run(tmp_path: Path) -> None:
    """They are what `steps` is made of; see docs/library.md."""
    whole = build(tmp_path / "whole")
    train(whole, STEPS)
    own = build(tmp_path / "own")
    run, model, optimizer = own.run, own.model, own.optimizer
    schedule = run.schedulers[0]
    while run.position.step < STEPS:
        step = run.begin_step(
            run.order.next_ids(run.position, 6)[: len(run.order.at(run.position))]
        )
        loss_sum = torch.zeros(())
        for start in range(0, len(step.indices), MICRO):
            run.seed_micro_batch()
            indices = step.indices[start : start + MICRO]
            features = torch.stack([data(i)[0] for i in indices])
            targets = torch.stack([data(i)[1] for i in indices])
            loss = ((model(features) - targets) ** 2).sum() / len(step.indices)
            loss.backward()
            loss_sum = loss_sum + loss.detach()
            run.micro_batch_done(len(indices))
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses = {"loss": loss_sum.item(), "error": loss_sum.item()}
        run.end_step(losses, grad_norm=norm.item(), rate=rate)
    run.save()
    run.close()
    assert last_line_of_each_step(whole.run.layout.journal) == last_line_of_each_step(
        run.layout.journal
    )
    for theirs, ours in zip(whole.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(theirs, ours)


def test_a_loop_of_its_own_goes_on_inside_a_step(tmp_path: Path) -> None:
    """Gradients and sums of the micro-batches that were done are in a checkpoint inside a step."""
    whole = build(tmp_path / "whole")
    train(whole, STEPS)
    own = build(tmp_path / "own")
    while own.run.position.step < STEPS:
        step = own.run.begin_step()
        for start in range(own.run.position.samples, len(step.indices), MICRO):
            own.run.seed_micro_batch()
            indices = step.indices[start : start + MICRO]
            features = torch.stack([data(i)[0] for i in indices])
            targets = torch.stack([data(i)[1] for i in indices])
            loss = ((own.model(features) - targets) ** 2).sum() / len(step.indices)
            step.backward(loss, error=loss)
            own.run.micro_batch_done(len(indices))
            if (step.number, start) == (5, 0) and not own.report.position.samples:
                break
        else:
            norm = torch.nn.utils.clip_grad_norm_(own.model.parameters(), 1.0)
            losses, rate = step.losses(), own.optimizer.param_groups[0]["lr"]
            own.optimizer.step()
            own.run.schedulers[0].step()
            own.optimizer.zero_grad()
            own.run.end_step(losses, grad_norm=norm.item(), rate=rate)
            continue
        own.run.save()
        own.run.close()
        own = build(tmp_path / "own")
        assert (4, MICRO) == (own.report.position.step, own.report.position.samples)
    own.run.close()
    theirs, ours = (
        [each | {"start": 0} for each in last_line_of_each_step(run.layout.journal).values()]
        for run in (whole.run, own.run)
    )
    assert theirs == ours


def test_other_samples_are_refused(tmp_path: Path) -> None:
    """A loop that is about to use other samples than the run's is told before it does."""
    run = build(tmp_path).run
    with pytest.raises(StateMismatch, match="the run's order says"):
        run.begin_step(["sample-0"])
    run.close()


@pytest.mark.parametrize("samples", [-5, 0, 99])
def test_a_micro_batch_counts_samples_that_the_step_has(tmp_path: Path, samples: int) -> None:
    """A wrong count is refused before it moves the position."""
    training = build(tmp_path)
    training.run.begin_step()
    with pytest.raises(StateMismatch, match=f"A micro-batch of {samples} samples"):
        training.run.micro_batch_done(samples)
    assert 0 == training.run.position.samples
    training.run.close()


def test_a_step_ends_with_all_its_samples(tmp_path: Path) -> None:
    """A step whose samples were not all counted is refused, not journalled as whole."""
    training = build(tmp_path)
    training.run.begin_step()
    training.run.micro_batch_done(1)
    with pytest.raises(StateMismatch, match="of its samples were not counted"):
        training.run.end_step({"loss": 1.0})
    assert 0 == training.run.position.step
    training.run.close()


@pytest.mark.parametrize("asked_at", ["between two micro-batches", "after the step"])
def test_a_stop_is_honoured(tmp_path: Path, asked_at: str) -> None:
    """Saved at once, up to two steps more for the next start, then the error that ends the program."""

    def start() -> tuple[Run, int]:
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        order = StepBatches([str(i) for i in range(16)], None, 4, 1)
        run = Run(tmp_path / "run", order=order, model=model, optimizer=optimizer, save_every=0)
        begun = run.resume().position.step
        while run.position.step < STEPS:
            step = run.begin_step()
            for at in range(run.position.samples, 4, 2):
                with run.micro_batch(2):
                    step.backward(model(torch.ones(2, 2)).square().sum() / 4)
                if (asked_at[0], step.number, at) == ("b", 5, 0) and not begun:
                    run.stop.ask("a test")
            optimizer.step()
            optimizer.zero_grad()
            run.end_step(step.losses())
            if (asked_at[0], step.number) == ("a", 5) and not begun:
                run.stop.ask("a test")
        return run, begun

    with pytest.raises(Stopped):
        start()
    run, begun = start()
    run.close()
    assert 5 == begun
    verdict = run.monitor.verdict
    assert verdict is not None
    assert verdict.outcome is ReplayOutcome.EXACT
