"""What a run learns of updates that its loop makes itself, and what it refuses by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unbroken
from unbroken.state.modules import TENSORS

SAMPLES, EFFECTIVE = 12, 4
DATA = torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(3))


def order() -> unbroken.StepBatches:
    """Return the step batches of every training here."""
    names = [f"sample-{i}" for i in range(SAMPLES)]
    return unbroken.StepBatches(names, lengths=None, effective_batch=EFFECTIVE, seed=1)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[unbroken.Run, nn.Module, torch.optim.Optimizer]]:
    """Return a run, its model and its optimiser."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    run = unbroken.Run(tmp_path, order=order(), model=model, optimizer=optimizer, save_every=0)
    run.resume()
    yield run, model, optimizer
    run.close()


def test_an_optimiser_is_not_stepped_twice(own: Any) -> None:
    """A loop that steps by itself and calls update() as well is told so by name."""
    run, model, optimizer = own
    for step in run.steps(1):
        for micro in step.micro_batches(4):
            step.backward(model(DATA[list(micro.indices)]).square().mean())
        optimizer.step()
        with pytest.raises(unbroken.RunMisused, match="'optimizer' has stepped in step 1 already"):
            step.update()
        step.end()
    assert 1 == run.position.updates


def test_a_step_by_hand_is_recognised(own: Any) -> None:
    """A loop that forgets to end its step is told what it did, and what to call."""
    run, model, optimizer = own

    def train() -> None:
        for step in run.steps(1):
            for micro in step.micro_batches(4):
                model(DATA[list(micro.indices)]).square().mean().backward()
            optimizer.step()

    with pytest.raises(unbroken.RunMisused, match="stepped by hand: optimizer") as raised:
        train()
    assert "step.end()" in raised.value.remedy


def test_a_save_between_an_update_and_its_steps_end_is_refused(own: Any) -> None:
    """The next start would make the update again."""
    run, model, optimizer = own
    step = run.begin_step()
    with run.micro_batch(len(step.indices)):
        step.backward(model(DATA[list(step.indices)]).square().mean())
    optimizer.step()
    with pytest.raises(unbroken.SaveFailed, match="after the update of step 1"):
        run.save()
    run.end_step(step.losses())
    run.save()


def test_rate_and_steps_without_an_update_are_learned(own: Any) -> None:
    """A loop of one's own need not tell what PyTorch knows: the rate as it was applied, and no update."""
    run, model, optimizer = own
    for applies in (True, False):
        step = run.begin_step()
        run.seed_micro_batch()
        step.backward(model(DATA[list(step.indices)]).square().mean())
        run.micro_batch_done(len(step.indices))
        if applies:
            optimizer.step()
            optimizer.param_groups[0]["lr"] = 0.125  # as a schedule does after its update
        optimizer.zero_grad()
        result = run.end_step(step.losses())
        assert (0.25 if applies else 0.125, not applies) == (result.rate, result.gathers)
    assert (2, 1) == (run.position.step, run.position.updates)


def test_a_skip_of_a_scaler_is_learned(tmp_path: Path) -> None:
    """A scaler that meets an infinite gradient makes no update; one that is called all the same neither."""
    for fused in (False, True):
        torch.manual_seed(0)
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.25, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        run = unbroken.Run(
            tmp_path / str(fused),
            order=order(),
            model=model,
            optimizer=optimizer,
            scaler=scaler,
            save_every=0,
        )
        run.resume()
        skipped = []
        for factor in (1.0, float("inf"), 1.0):
            step = run.begin_step()
            run.seed_micro_batch()
            scaler.scale(model(DATA[list(step.indices)] * factor).square().mean()).backward()
            run.micro_batch_done(len(step.indices))
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            skipped.append(run.end_step({"loss": 1.0}).skipped)
        run.close()
        assert [False, True, False] == skipped


def test_an_optimiser_that_is_not_declared_is_named(tmp_path: Path) -> None:
    """One that updates a declared model with momentum would be in no checkpoint."""
    torch.manual_seed(0)
    generator, critic = nn.Linear(4, 4), nn.Linear(4, 1)
    g, d = (torch.optim.Adam(each.parameters()) for each in (generator, critic))
    run = unbroken.Run(
        tmp_path,
        order=order(),
        model={"generator": generator, "critic": critic},
        optimizer=g,
        save_every=0,
    )
    run.resume()

    def train() -> None:
        for step in run.steps(2):
            for micro in step.micro_batches(4):
                step.backward(critic(generator(DATA[list(micro.indices)])).square().mean())
            d.step()
            step.update()

    with pytest.raises(unbroken.RunMisused, match=r"Adam over critic\.weight, critic\.bias"):
        train()
    run.close()


def test_gradients_that_a_loop_zeroes_later_are_in_no_checkpoint(own: Any) -> None:
    """A loop that zeroes at the top of each step leaves them standing; they are no state."""
    run, model, optimizer = own
    sizes = []
    for _ in range(3):
        step = run.begin_step()
        optimizer.zero_grad()
        run.seed_micro_batch()
        step.backward(model(DATA[list(step.indices)]).square().mean())
        run.micro_batch_done(len(step.indices))
        optimizer.step()
        run.end_step(step.losses())
        sizes.append(len(run.state.capture()["gradients"][TENSORS]))
    assert [2, 0, 0] == sizes, "once it was seen that the next step does without them"


def test_gradients_of_a_later_backward_pass_are_saved(own: Any) -> None:
    """A generator's pass leaves some in the critic, which has stepped already, for its next update."""
    run, model, optimizer = own
    sizes = []
    for number in range(3):
        step = run.begin_step()
        optimizer.zero_grad()
        run.seed_micro_batch()
        step.backward(model(DATA[list(step.indices)]).square().mean())
        run.micro_batch_done(len(step.indices))
        optimizer.step()
        if number == 2:
            optimizer.zero_grad()
            model(DATA[:2]).square().mean().backward()
        run.end_step(step.losses())
        sizes.append(len(run.state.capture()["gradients"][TENSORS]))
    assert sizes == [2, 0, 2], "those of the extra pass are state"


def test_a_batch_that_is_read_before_it_is_trained_is_not_saved_half(own: Any) -> None:
    """A stop between the reading of two micro-batches, without a gradient yet, waits for the step."""
    run, model, _ = own

    def train() -> None:
        for step in run.steps(6):
            micro_batches = iter(step.micro_batches(2))
            read = [next(micro_batches)]
            if step.number == 2:
                run.stop.ask("a test")
            read.extend(micro_batches)
            for micro in read:
                step.backward(model(DATA[list(micro.indices)]).square().sum() / EFFECTIVE)
            step.update()

    with pytest.raises(unbroken.Stopped, match="saved as step-00000002"):
        train()
