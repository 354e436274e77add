"""Copies beside the forward pass: what only updates change, no update let through, none torn unseen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from support import toy_training as toy
from support.evidence import journal_of
from unbroken import Run, StepBatches
from unbroken.checkpoint import saver as saving
from unbroken.checkpoint.saver import Saver
from unbroken.errors import SaveFailed
from unbroken.run.resume import find_source
from unbroken.state.codec import encode


@pytest.fixture(autouse=True)
def _has_a_free_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "spare_cores", lambda: 1)


@pytest.fixture
def training(tmp_path: Path) -> toy.Training:
    """A training whose first save is made, a step before: copies beside the forward pass begin."""
    found = toy.build(tmp_path / "run", save_every=0, overlap=True)
    toy.train(found, 2)
    one_step(found)
    return found


def saver_of(run: Run) -> Saver:
    assert run._open.saves.saver is not None
    return run._open.saves.saver


def leaves(run: Run) -> dict[str, torch.Tensor]:
    """Return clones of all tensors of the run's state, by leaf path."""
    tensors: dict[str, torch.Tensor] = {}
    for name, part in run.state.capture().items():
        encode(part, name, tensors)
    return {name: each.clone() for name, each in tensors.items()}


@contextmanager
def held_back(run: Run) -> Iterator[None]:
    """Let the background begin nothing meanwhile."""
    go = threading.Event()
    saver_of(run)._thread.submit(go.wait, 60)
    try:
        yield
    finally:
        go.set()


def saved(run: Run) -> dict[str, torch.Tensor]:
    """Return all tensors of the newest checkpoint, by leaf path."""
    target = find_source(run.layout.root, "auto")
    assert target.checkpoint is not None
    tensors: dict[str, torch.Tensor] = {}
    for name, part in target.checkpoint.parts().items():
        encode(part, name, tensors)
    return tensors


def require_same(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    assert expected.keys() == found.keys()
    assert [] == [name for name in expected if not torch.equal(expected[name], found[name])]


def one_step(training: toy.Training) -> None:
    """Train a step, with no save at its end."""
    toy.train_step(training, training.run.begin_step())


def require_copied_at_once(training: toy.Training) -> None:
    """Save, train on before the background begins, and find the state of the save; end the run."""
    run, expected = training.run, leaves(training.run)
    with held_back(run):
        run.save(wait=False)
        one_step(training)
    run.close()
    require_same(expected, saved(run))


def test_only_what_updates_change_waits(training: toy.Training) -> None:
    """Parameters and moments; no counter, no sum, no gradient, no buffer, no schedule."""
    trained = {f"model.{name}" for name, _ in training.model.named_parameters()}
    moments = {
        f"optimizer.state.{name}.{kind}" for name in trained for kind in ("exp_avg", "exp_avg_sq")
    }
    assert trained | moments == training.run.state.only_updated()
    training.run.close()


def test_an_update_waits_for_the_copies(training: toy.Training) -> None:
    """The step after the save goes as far as its update; what is saved is the state of the call."""
    run = training.run
    expected, position = leaves(run), run.position
    with held_back(run):
        run.save(wait=False)
        step = threading.Thread(target=one_step, args=(training,))
        step.start()
        step.join(0.2)
        assert step.is_alive()
        assert position.step == run.position.step
        require_same(
            {n: expected[n] for n in run.state.only_updated()},
            {n: leaves(run)[n] for n in run.state.only_updated()},
        )
    step.join(60)
    assert position.step + 1 == run.position.step
    run.close()
    require_same(expected, saved(run))


def test_an_update_that_is_let_through_is_found(training: toy.Training) -> None:
    """Without the fence nothing becomes visible; the next save copies before training goes on."""
    run, before = training.run, find_source(training.run.layout.root, "auto").checkpoint
    saver = saver_of(run)
    for each in saver._fences:
        each.remove()
    with held_back(run):
        run.save(wait=False)
        one_step(training)
    with pytest.raises(SaveFailed, match="while it was copied"):
        saver.finish()
    one_step(training)
    after = find_source(run.layout.root, "auto").checkpoint
    assert before is not None
    assert after is not None
    assert before.path == after.path
    require_copied_at_once(training)


def test_other_state_is_copied_at_once(tmp_path: Path) -> None:
    """Buffers, counters, frozen parameters and averages may change before the background begins."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.BatchNorm1d(16))
    average = torch.optim.swa_utils.AveragedModel(model)
    frozen = torch.nn.Linear(2, 2).requires_grad_(requires_grad=False)
    training = toy.build(tmp_path / "run", save_every=0, overlap=True, others=model, ema=average,
                         fixed=frozen)  # fmt: skip
    toy.train(training, 2)
    one_step(training)
    expected = leaves(training.run)
    with held_back(training.run):
        training.run.save(wait=False)
        with torch.no_grad():
            for module in (model, average, frozen):
                for each in [*module.parameters(), *module.buffers()]:
                    each.add_(1)
            for state in training.optimizer.state.values():
                state["step"].add_(1)
    saver_of(training.run).finish()
    training.run.close()
    require_same(expected, saved(training.run))


def test_memory_that_other_state_shares_is_copied_at_once(tmp_path: Path) -> None:
    """A forward pass that writes a buffer in a parameter's memory, past PyTorch's count."""
    model = torch.nn.Linear(512, 512)
    row = model.weight.data[5]
    model.register_buffer("row", row)
    run = Run(
        tmp_path / "run",
        order=StepBatches(["a", "b"], None, 1, 7),
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        save_every=0,
        overlap=True,
    )
    run.resume()
    run.save()
    run.metrics["loss"] = 1.0
    expected = leaves(run)
    with held_back(run):
        run.save(wait=False)
        row.add_(1)
    run.close()
    require_same(expected, saved(run))


def test_copies_are_complete_where_no_core_is_left(
    training: toy.Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All cores train: a copy beside them would take more than it saves."""
    monkeypatch.setattr(saving, "spare_cores", lambda: 0)
    require_copied_at_once(training)


def test_the_first_save_is_proved_and_waits_for_nothing(tmp_path: Path) -> None:
    """Its copy is compared with the live tensors, so it is complete when the call returns."""
    training = toy.build(tmp_path / "run", save_every=0, overlap=True)
    one_step(training)
    require_copied_at_once(training)


def test_the_run_leaves_no_hook_behind(training: toy.Training) -> None:
    """After it is closed the optimiser is as it was."""
    assert training.optimizer._optimizer_step_pre_hooks
    training.run.close()
    assert not training.optimizer._optimizer_step_pre_hooks


def test_a_run_that_is_taken_over_leaves_no_hook_behind(training: toy.Training) -> None:
    """As when a notebook's cell is run again: only the later run stands before the updates."""
    training.run.resume("auto")
    assert 1 == len(training.optimizer._optimizer_step_pre_hooks)
    training.run.close()
    assert not training.optimizer._optimizer_step_pre_hooks


def test_a_training_with_overlap_is_the_one_without(tmp_path: Path) -> None:
    """Saves after every step, two starts: journal and state come to the same bits."""
    ends = []
    for name, overlap in (("with", True), ("without", False)):
        for until in (4, 9):
            training = toy.build(tmp_path / name, save_every=1, overlap=overlap)
            toy.train(training, until)
            training.run.close()
            ends.append((leaves(training.run), journal_of(tmp_path / name)))
    _, (a, journal_a), _, (b, journal_b) = ends
    require_same(a, b)
    kept = ("step", "loss", "grad_norm", "lr", "weight_sketch")
    assert [[each[k] for k in kept] for each in journal_a.values()] == [
        [each[k] for k in kept] for each in journal_b.values()
    ]
