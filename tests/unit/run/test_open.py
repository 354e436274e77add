"""A run is open from `resume` to `close`; only then can it be stepped, saved and noted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import unbroken
from support.toy_training import build, train
from unbroken.journal.journal import read_lines

USES: dict[str, Callable[[unbroken.Run], object]] = {
    "a step": lambda run: run.begin_step(),
    "the steps": lambda run: next(iter(run.steps(1))),
    "a note": lambda run: run.note("seen"),
}


def unopened(directory: Path) -> unbroken.Run:
    model = torch.nn.Linear(1, 1)
    order = unbroken.StepBatches(["a", "b"], None, 1, 7)
    optimizer = torch.optim.SGD(model.parameters())
    return unbroken.Run(directory, order=order, model=model, optimizer=optimizer)


@pytest.mark.parametrize("use", [*USES.values(), unbroken.Run.save], ids=[*USES, "a save"])
def test_nothing_is_done_before_the_resume(
    tmp_path: Path, use: Callable[[unbroken.Run], object]
) -> None:
    """Nothing is written either: the directory is not there."""
    run = unopened(tmp_path / "run")
    with pytest.raises(unbroken.RunMisused, match=r"resume\(\) comes before"):
        use(run)
    run.close()
    assert "" == run.run_id
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("use", [*USES.values(), unbroken.Run.save], ids=[*USES, "a save"])
def test_nothing_is_done_after_the_close(
    tmp_path: Path, use: Callable[[unbroken.Run], object]
) -> None:
    """The directory may be another process's by then; what the run was is still told."""
    run = build(tmp_path).run
    run.close()
    history = list(read_lines(run.layout.history))
    with pytest.raises(unbroken.RunMisused, match=r"closed by run.close\(\)"):
        use(run)
    run.close()
    assert run.run_id
    assert run.monitor.verdict is None
    assert history == list(read_lines(run.layout.history))


def test_a_refused_resume_may_be_tried_again(tmp_path: Path) -> None:
    """Nothing of the first attempt is left in the run, nor the lock on its directory."""
    first = build(tmp_path, facts={"speakers": 1})
    train(first, 3)
    first.run.close()
    with pytest.raises(unbroken.ResumeRefused) as refused:
        build(tmp_path, facts={"speakers": 2})
    assert refused.value.report is not None
    again = build(tmp_path, facts={"speakers": 1})
    assert 3 == again.run.position.step
    again.run.close()
