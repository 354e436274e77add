"""What a run writes down of its samples, compared with what its data set saw and its loop trained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

import unbroken
from unbroken.checkpoint.layout import Layout
from unbroken.doctor.ledger import Ledger, examine_ledger
from unbroken.order.mix import Mix

SAMPLES = 23


class Numbered(Dataset[torch.Tensor]):
    """Each sample is its own number: what a loop trains on tells which samples it used."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([float(index)])


class Counting(IterableDataset[torch.Tensor]):
    """A stream of the same numbers."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.arange(float(SAMPLES)).unsqueeze(1))


class Died(Exception):
    """Stands for a kill: nothing of the run is closed in order."""


Used = dict[int, tuple[int, list[int]]]
"""Step -> epoch and the samples it used."""


def train(
    directory: Path,
    data: Any,
    used: Used,
    *,
    die_at: int = 0,
    leave_at: int = 0,
    accept: tuple[str, ...] = (),
    **options: Any,
) -> None:
    """Train three epochs; write down by step what the batches held, and raise at a step."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    run = unbroken.Run(
        directory, data=data, model=model, optimizer=optimizer, save_every=3, **options
    )
    if accept:
        run.resume(accept=accept)
    try:
        for epoch in run.epochs(3):
            for batch in run.batches():
                step = run.position.step + 1
                if step == die_at:
                    raise Died
                used[step] = epoch, [int(each) for each in batch.flatten()]
                model(batch).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
                if run.position.batch + 1 == leave_at:
                    break
    finally:
        run.close()


def killed(directory: Path, data: Callable[[], Any], **options: Any) -> Used:
    """Train until the end, over two deaths; return what each step used at last."""
    used: Used = {}
    for die_at in (5, 11):
        with pytest.raises(Died):
            train(directory, data(), used, die_at=die_at, **options)
    train(directory, data(), used, **options)
    return used


def ledger_of(directory: Path) -> Ledger:
    """Return the ledger of a run."""
    found = examine_ledger(Layout(directory))
    assert found is not None
    return found


def counts(used: Used) -> dict[int, Counter[int]]:
    """Count how often each sample was used, by epoch."""
    found: dict[int, Counter[int]] = {}
    for epoch, samples in used.values():
        found.setdefault(epoch, Counter()).update(samples)
    return found


LOADERS: dict[str, tuple[Callable[[], Any], str]] = {
    "shuffled": (
        lambda: DataLoader(Numbered(), 4, shuffle=True),
        "each once (0 to N-1, recomputed)",
    ),
    "drop_last": (
        lambda: DataLoader(Numbered(), 4, shuffle=True, drop_last=True),
        "each once; the order left out 3",
    ),
    "subset": (
        lambda: DataLoader(Numbered(), 4, sampler=SubsetRandomSampler(range(3, 20))),
        "each once; the order left out 6",
    ),
    "batches of a sampler": (
        lambda: DataLoader(
            Numbered(), batch_sampler=BatchSampler(RandomSampler(Numbered()), 5, drop_last=False)
        ),
        "each once (0 to N-1, recomputed)",
    ),
    "one by one": (
        lambda: DataLoader(Numbered(), 1, shuffle=True),
        "each once (0 to N-1, recomputed)",
    ),
}


@pytest.mark.parametrize("name", LOADERS)
def test_what_the_ledger_says_is_what_the_loop_trained(tmp_path: Path, name: str) -> None:
    """Samples counted in the loop are those of the table, each once an epoch, over two deaths."""
    loader, verdict = LOADERS[name]
    used = killed(tmp_path, loader)
    found = ledger_of(tmp_path)
    assert "proved" == found.outcome
    for each, count in zip(found.epochs, counts(used).values(), strict=True):
        assert {1} == set(count.values())
        assert (verdict, len(count), SAMPLES) == (each.verdict, each.samples, each.of)


def test_a_sampler_that_repeats_samples_is_said_to(tmp_path: Path) -> None:
    """A weighted one draws with replacement: each sample is used as often as it drew it."""
    weights = [1.0 + i % 5 for i in range(SAMPLES)]
    used = killed(
        tmp_path, lambda: DataLoader(Numbered(), 1, sampler=WeightedRandomSampler(weights, SAMPLES))
    )
    found = ledger_of(tmp_path)
    assert "proved" == found.outcome
    assert "exactly as often as the order drew it" in found.sentence
    for each, count in zip(found.epochs, counts(used).values(), strict=True):
        assert f"as its order drew: {len(count)} different samples" == each.verdict


def test_a_stream_is_proved_batch_by_batch(tmp_path: Path) -> None:
    """Its samples have no names: each batch of it was used once, in order."""
    killed(tmp_path, lambda: DataLoader(Counting(), 4))
    found = ledger_of(tmp_path)
    verdicts = [each.verdict for each in found.epochs]
    assert ["each batch once", "each batch once", "each batch once so far"] == verdicts
    assert "each batch was used exactly once" in found.sentence
    lines = (tmp_path / "journal.jsonl").read_text("utf-8").splitlines()
    lines[-2] = lines[-2].replace(json.loads(lines[-2])["sample_digest"], "0" * 32)
    (tmp_path / "journal.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    assert "used another batch than the one that follows" in ledger_of(tmp_path).sentence


def test_epochs_that_the_loop_leaves_are_told(tmp_path: Path) -> None:
    """A `break` leaves samples out, as the program wants it."""
    used = killed(tmp_path, lambda: DataLoader(Numbered(), 4, shuffle=True), leave_at=4)
    found = ledger_of(tmp_path)
    assert "proved" == found.outcome
    assert [each.total() for each in counts(used).values()] == [e.samples for e in found.epochs]
    assert ["left early by the loop; no repeat and no gap before"] * 2 == [
        each.verdict for each in found.epochs[:2]
    ]


class Rotated(Sampler[int]):
    """Begins at another sample each time that it is made otherwise."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        return iter((self.first + i) % SAMPLES for i in range(SAMPLES))


def test_another_order_within_an_epoch_is_found_though_it_was_accepted(tmp_path: Path) -> None:
    """Samples of the epoch come twice and others never: whoever accepts it can see that."""
    used: Used = {}
    with pytest.raises(Died):
        train(tmp_path, DataLoader(Numbered(), 4, sampler=Rotated(0)), used, die_at=5)
    other = DataLoader(Numbered(), 4, sampler=Rotated(6))
    train(
        tmp_path, other, used, accept=("next-samples-identical", "last-batch-identical"),
        on_diverged="continue",
    )  # fmt: skip
    assert {1} != set(counts(used)[0].values())
    found = ledger_of(tmp_path)
    assert "broken" == found.outcome
    assert (0, 4) == found.faults[0][1:3]
    assert "start 2 went on at step 4 as if after other samples" in found.sentence
    assert ["proved", "proved"] == [each.standing for each in found.epochs[1:]]


def steps(directory: Path, effective_batch: int, until: int, mix: Mix | None = None) -> None:
    """Train over step batches of named samples."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    ids = [f"clip-{i}" for i in range(SAMPLES)]
    order = unbroken.StepBatches(ids, [1 + i % 4 for i in range(SAMPLES)], effective_batch, 5, mix)
    run = unbroken.Run(directory, order=order, model=model, optimizer=optimizer, save_every=2)
    run.resume(accept=["batch-geometry-unchanged"])
    for step in run.steps(until):
        for micro in step.micro_batches(2):
            step.backward(model(torch.ones(len(micro.indices), 1)).square().mean())
        step.update()
    run.close()


def test_another_effective_batch_repeats_and_leaves_out_nothing(tmp_path: Path) -> None:
    """It is accepted in the middle of an epoch, and what is left makes batches of the new size."""
    steps(tmp_path, 4, 8)
    steps(tmp_path, 5, 20)
    found = ledger_of(tmp_path)
    assert "proved" == found.outcome
    assert ["each once"] * 3 == [each.verdict for each in found.epochs[:3]]
    assert [SAMPLES] * 3 == [each.samples for each in found.epochs[:3]]


def test_a_mix_is_proved_to_be_what_it_drew(tmp_path: Path) -> None:
    """A small group comes several times an epoch."""
    groups = ["am" if i < 4 else "en" for i in range(SAMPLES)]
    mix = Mix(groups, {"am": 0.2, "en": 0.8})
    steps(tmp_path, 4, 7, mix)
    steps(tmp_path, 4, 20, mix)
    found = ledger_of(tmp_path)
    assert "proved" == found.outcome
    assert found.epochs[0].verdict.startswith("as its order drew")


def test_a_loop_that_draws_its_own_has_numbered_steps(tmp_path: Path) -> None:
    """There is one epoch without an end, and none of its steps is missing."""
    for until in (4, 9):
        torch.manual_seed(0)
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run = unbroken.Run(tmp_path, model=model, optimizer=optimizer, save_every=2)
        for _ in run.iterations(until):
            model(torch.randn(3, 1)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        run.close()
    [epoch] = ledger_of(tmp_path).epochs
    assert ("each step once so far", 9) == (epoch.verdict, epoch.steps)
