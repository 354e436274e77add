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


@pytest.mark.parametrize("package", PACKAGES)
def test_goes_on_to_the_last_bit(package: str, tmp_path: Path) -> None:
    """Saved after three steps and built anew, each ends where it would have; none can't be resumed."""
    if package in HEAVY:
        pytest.importorskip(package, reason="needs 130 MB of bitsandbytes; not in the dev extra")
    assert importlib.util.find_spec(package), f"the dev extra has {package}"
    found = {}
    for trial in trials_of(package):
        try:
            if differs := exact_in_one_process(trial, tmp_path / trial.name):
                found[trial.name] = f"differs in {', '.join(differs)}"
        except Exception as error:  # noqa: BLE001  # each is told, by name
            found[trial.name] = f"{type(error).__name__}: {error}"
    assert {} == found


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
