"""A step that was begun and gathered nothing begins anew, also from a checkpoint of an older version."""

from __future__ import annotations

from pathlib import Path

import torch

from support.rewritten_checkpoint import rewrite
from support.toy_training import MICRO, build, train
from unbroken.journal.journal import last_line_of_each_step
from unbroken.state.modules import TENSORS


def test_it_goes_on_from_the_start_of_the_step(tmp_path: Path) -> None:
    """No sample is left out, although the checkpoint says that some were done."""
    whole = build(tmp_path / "whole")
    train(whole, 6)
    half = build(tmp_path / "half")
    train(half, 4)
    step = half.run.begin_step()
    half.run.seed_micro_batch()
    step.backward(half.model(torch.zeros(1, 4)).sum())
    half.run.micro_batch_done(MICRO)
    place = half.run.save()
    half.run.close()

    def forget(parts: dict[str, object], evidence: dict[str, object]) -> None:
        del evidence
        parts["sums"], parts["gradients"] = {}, {TENSORS: {}}

    rewrite(place, forget)
    again = build(tmp_path / "half")
    assert (4, 0) == (again.report.position.step, again.report.position.samples)
    train(again, 6)
    again.run.close()
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    expected, found = (
        {n: each | {"start": 0} for n, each in last_line_of_each_step(run.layout.journal).items()}
        for run in (whole.run, again.run)
    )
    assert expected == found
