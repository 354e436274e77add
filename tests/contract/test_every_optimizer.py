"""Every optimiser that trains goes on from a checkpoint to the last bit: PyTorch's, and packages'."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from support.optimizer_catalogue import PACKAGES, trials_of
from support.optimizer_trial import OptimizerTrial, Training, differing, exact_here

HEAVY = {"bitsandbytes"}
"""Packages that are tried where they are installed, and not demanded by the `dev` extra."""


@pytest.mark.parametrize("package", PACKAGES)
def test_goes_on_to_the_last_bit(package: str, tmp_path: Path) -> None:
    """Saved after three steps and built anew, each ends where it would have; nothing is left out."""
    if package in HEAVY:
        pytest.importorskip(package, reason="not part of the dev extra: more than 100 MB")
    assert importlib.util.find_spec(package), f"the dev extra has {package}"
    found = {}
    for number, trial in enumerate(trials_of(package)):
        directory = tmp_path / str(number)
        try:
            if differs := exact_here(trial, directory):
                found[trial.name] = f"differs in {', '.join(differs)}"
        except Exception as error:  # noqa: BLE001  # each is told, by name
            found[trial.name] = f"{type(error).__name__}: {error}"
    assert {} == found


def test_a_lost_state_would_be_seen(tmp_path: Path) -> None:
    """The comparison can fail: an optimiser whose moments are dropped on the way ends elsewhere."""
    trial = OptimizerTrial(
        name="Adam", build=lambda model: torch.optim.Adam(model.parameters(), lr=0.1)
    )
    one, other = Training(trial, tmp_path / "a"), Training(trial, tmp_path / "b")
    for each in (one, other):
        each.until(2)
    other.optimizer.state.clear()
    for each in (one, other):
        each.until(4)
        each.run.close()
    assert ["model", "optimizer"] == differing(one.state(), other.state())
