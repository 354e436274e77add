"""Every optimiser that trains goes on from a checkpoint to the last bit: PyTorch's, and packages'.

In one process, so that all are tried in seconds; scripts/write_works_with.py kills a process for each
of them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from support.optimizer_catalogue import PACKAGES, trials_of
from support.optimizer_trial import Objects, OptimizerTrial, differing, exact_in_one_process

HEAVY = {"bitsandbytes", "galore_torch"}
"""Packages that are tried where they are installed, and not demanded by the `dev` extra."""


LARGEST = "pytorch_optimizer"
"""The package with more optimisers than all others together."""
EACH = 6
"""Of its plain ones, every so-many-th is tried in every run."""


def sample(trials: list[OptimizerTrial]) -> list[OptimizerTrial]:
    """Return all that are driven, built or wrapped in a way of their own, and some of the plain ones."""
    own = [each for each in trials if is_special(each)]
    return own + [each for each in trials if not is_special(each)][::EACH]


def is_special(trial: OptimizerTrial) -> bool:
    """Say whether it is anything but a class that is given parameters and stepped."""
    return trial.way != "plain" or trial.matrices or trial.sparse or " " in trial.name


@pytest.mark.parametrize("package", PACKAGES)
def test_goes_on_to_the_last_bit(package: str, tmp_path: Path) -> None:
    """Saved after three steps and built anew, each ends where it would have; none can't be resumed.

    Of the largest package a sample by kind; all of it is in the soak.
    """
    if package in HEAVY:
        pytest.importorskip(package, reason="needs 130 MB of bitsandbytes; not in the dev extra")
    assert importlib.util.find_spec(package), f"the dev extra has {package}"
    trials = trials_of(package)
    assert {} == not_exact(sample(trials) if package == LARGEST else trials, tmp_path)


@pytest.mark.slow
def test_all_of_the_largest_package_go_on_to_the_last_bit(tmp_path: Path) -> None:
    """More than a hundred optimisers, most of them a class that keeps tensors by parameter."""
    trials = trials_of(LARGEST)
    assert len(trials) > 100
    assert {} == not_exact(trials, tmp_path)


def not_exact(trials: list[OptimizerTrial], tmp_path: Path) -> dict[str, str]:
    """Try optimisers; return what is wrong, by name."""
    found = {}
    for trial in trials:
        try:
            if differs := exact_in_one_process(trial, tmp_path / trial.name):
                found[trial.name] = f"differs in {', '.join(differs)}"
        except Exception as error:  # noqa: BLE001  # each is told, by name
            found[trial.name] = f"{type(error).__name__}: {error}"
    return found


def test_a_lost_state_would_be_seen() -> None:
    """The comparison can fail: an optimiser whose moments are dropped on the way ends elsewhere."""
    adam = OptimizerTrial(
        name="Adam", build=lambda model: torch.optim.Adam(model.parameters(), lr=0.1)
    )
    one, other = Objects(adam), Objects(adam)
    for each in (one, other):
        each.train(0, 2)
    other.optimizer.state.clear()
    for each in (one, other):
        each.train(2, 4)
    found = differing(one.state.capture(), other.state.capture())
    assert ["model", "optimizer"] == found
