"""The seed belongs to the run: its micro-batches draw from it, and the order's is its default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.toy_training import Training, build, train, train_step
from unbroken import ResumeRefused, SettingsInvalid
from unbroken.journal.journal import last_line_of_each_step
from unbroken.replay.replay import ReplayOutcome
from unbroken.run.source import find_source
from unbroken.state.facts import seed_of

ORDERS = 7
OWN = 11


def trained(directory: Path, until: int, **options: Any) -> Training:
    training = build(directory, **options)
    train(training, until)
    training.run.close()
    return training


def lines(training: Training) -> list[dict[str, Any]]:
    found = last_line_of_each_step(training.run.layout.journal).values()
    return [{**line, "start": 0} for line in found]


def facts(training: Training) -> dict[str, Any]:
    checkpoint = find_source(training.run.layout.root, "auto").checkpoint
    assert checkpoint is not None
    return checkpoint.facts()


def test_the_orders_seed_is_the_default(tmp_path: Path) -> None:
    """A run that is given no seed is the run that is given its order's, facts and all."""
    without = trained(tmp_path / "without", 3)
    given = trained(tmp_path / "given", 3, run_seed=ORDERS)
    assert lines(without) == lines(given)
    assert facts(without) == facts(given)
    assert ORDERS == seed_of(facts(without))


def test_another_seed_draws_other_masks_for_the_same_samples(tmp_path: Path) -> None:
    """The seed of the run changes what is drawn and leaves the order as it is."""
    orders, own = trained(tmp_path / "a", 3), trained(tmp_path / "b", 3, run_seed=OWN)
    assert [each["sample_digest"] for each in lines(orders)] == [
        each["sample_digest"] for each in lines(own)
    ]
    assert not {each["loss"] for each in lines(orders)} & {each["loss"] for each in lines(own)}


def test_it_is_recorded(tmp_path: Path) -> None:
    """`run.json` has it, and the facts where the order has another."""
    training = trained(tmp_path, 3, run_seed=OWN)
    assert OWN == json.loads(training.run.layout.run_file.read_text("utf-8"))["seed"]
    assert (ORDERS, OWN) == tuple(facts(training)["order"][key] for key in ("seed", "run_seed"))
    assert OWN == seed_of(facts(training))


def test_a_run_with_its_own_seed_goes_on_exactly(tmp_path: Path) -> None:
    """The steps that are repeated after a resume come out equal."""
    whole = trained(tmp_path / "whole", 8, run_seed=OWN)
    trained(tmp_path / "run", 5, run_seed=OWN)
    (last,) = (tmp_path / "run" / "checkpoints").glob("*5")
    for each in (last, tmp_path / "run" / "latest"):
        each.rename(tmp_path / each.name)
    resumed = trained(tmp_path / "run", 8, run_seed=OWN)
    assert resumed.run.monitor.verdict is not None
    assert ReplayOutcome.EXACT is resumed.run.monitor.verdict.outcome
    assert lines(whole) == lines(resumed)


@pytest.mark.parametrize(("before", "now"), [(None, OWN), (OWN, None), (OWN, OWN + 1)])
def test_another_seed_is_refused_at_a_resume(
    tmp_path: Path, before: int | None, now: int | None
) -> None:
    """As another seed of the order is: it can't be accepted either."""
    trained(tmp_path, 3, run_seed=before)
    with pytest.raises(ResumeRefused, match="order") as refused:
        build(tmp_path, run_seed=now)
    assert refused.value.decision is not None
    assert "order-unchanged" in [each.id for each in refused.value.decision.blocking]


def test_another_seed_is_refused_where_a_run_begins_again(tmp_path: Path) -> None:
    """A run without a checkpoint begins again only with the seed it was begun with."""
    training = build(tmp_path, save_every=0, run_seed=OWN)
    for step in training.run.steps(3):
        train_step(training, step)
        break
    training.run.close()
    with pytest.raises(ResumeRefused):
        build(tmp_path, run_seed=OWN + 1)


@pytest.mark.parametrize("facts", [{}, {"order": {}}, {"order": {"seed": "7"}}])
def test_facts_without_a_seed_tell_none(facts: dict[str, Any]) -> None:
    """An older or foreign checkpoint says nothing about it."""
    assert seed_of(facts) is None


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True])
def test_a_seed_is_a_number_of_64_bits(tmp_path: Path, seed: Any) -> None:
    """What would be cut off, or fail at the first micro-batch, is refused at once."""
    with pytest.raises(SettingsInvalid, match="Run\\(seed=\\) is"):
        build(tmp_path, run_seed=seed)
