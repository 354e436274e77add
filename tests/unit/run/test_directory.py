"""What others read of a run's directory, and what a checkpoint gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from support.toy_training import build, train
from unbroken import (
    CheckpointCorrupt,
    NoUsableCheckpoint,
    RunDirectory,
    SettingsInvalid,
    StateMismatch,
    find_checkpoint,
)

STEPS = 7


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: checkpoints after steps 3, 6 and 7, of which two are kept."""
    directory = tmp_path_factory.mktemp("run")
    training = build(directory, keep=2)
    train(training, STEPS)
    training.run.close()
    return directory


def new_model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.GELU(), nn.Linear(16, 1))


def test_a_run_is_read_from_its_directory(run: Path) -> None:
    """Its id, its beginning and its steps, whether the path is text or not."""
    directory = RunDirectory(str(run))
    written = json.loads(directory.run_file.read_text(encoding="utf-8"))
    assert written["run_id"] == directory.run_id
    assert written["created"] == directory.created
    assert list(range(1, STEPS + 1)) == sorted(directory.steps())
    assert list(directory.steps().values()) == list(directory.lines())


def test_where_no_run_is_there_is_nothing_to_read(tmp_path: Path) -> None:
    """A directory that isn't there is no error."""
    directory = RunDirectory(tmp_path / "none")
    assert directory.run_id is None
    assert directory.created is None
    assert {} == directory.steps()
    assert directory.checkpoint_before(directory.checkpoints / "step-00000009") is None
    directory.require_free()
    with pytest.raises(NoUsableCheckpoint):
        find_checkpoint(directory.root)


@pytest.mark.parametrize("created", ['"soon"', "null", "1e300", "NaN"])
def test_an_edited_beginning_is_none(tmp_path: Path, created: str) -> None:
    """What is no moment is not taken for one."""
    directory = RunDirectory(tmp_path)
    directory.run_file.write_text(f'{{"created": {created}}}', encoding="utf-8")
    assert directory.created is None
    with pytest.raises(SettingsInvalid, match="not the file of an unbroken run"):
        _ = directory.run_id


def test_the_last_line_of_a_repeated_step_counts(tmp_path: Path) -> None:
    """`lines` has every attempt, `steps` the one that counts."""
    directory = RunDirectory(tmp_path)
    written = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    text = "".join(json.dumps(each) + "\n" for each in written)
    directory.journal.write_text(text + '{"step": 3', encoding="utf-8")
    assert written == list(directory.lines())
    assert {1: written[0], 2: written[2]} == directory.steps()


def test_the_checkpoint_before_is_complete_and_older(run: Path) -> None:
    """By their place in the run, not by their names' order in the directory."""
    directory = RunDirectory(run)
    last = find_checkpoint(run).path
    before = directory.checkpoint_before(last)
    assert before is not None
    assert ("step-00000006", "step-00000007") == (before.name, last.name)
    assert directory.checkpoint_before(before) is None


def test_a_module_is_filled_from_a_checkpoint(run: Path) -> None:
    """With the weights of the run's newest checkpoint, or of the one that is named."""
    checkpoint = find_checkpoint(run)
    assert STEPS == checkpoint.position.step
    assert checkpoint.path == find_checkpoint(checkpoint.path).path
    model = new_model()
    checkpoint.load_into(model)
    saved = checkpoint.part("model")[""]
    assert all(torch.equal(saved[name], each) for name, each in model.state_dict().items())
    assert model.training


def test_another_module_is_not_touched(run: Path) -> None:
    """A part of another structure, or none of that name: refused as a whole."""
    checkpoint = find_checkpoint(run)
    other = nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 2))
    before = {name: each.clone() for name, each in other.state_dict().items()}
    with pytest.raises(StateMismatch, match="doesn't fit"):
        checkpoint.load_into(other)
    with pytest.raises(StateMismatch, match="no part 'ema'"):
        checkpoint.load_into(new_model(), "ema")
    assert all(torch.equal(before[name], each) for name, each in other.state_dict().items())


def test_digests_are_by_leaf(run: Path) -> None:
    """Each tensor of a part has one, and of no other part; a part without tensors has none."""
    checkpoint = find_checkpoint(run)
    leaves = {f"model.{name}" for name in new_model().state_dict()}
    assert leaves == set(checkpoint.digests("model"))
    assert {} == checkpoint.digests("scheduler")


def test_a_damaged_checkpoint_that_is_named_is_not_replaced(run: Path) -> None:
    """Whoever names one wants that one."""
    before = RunDirectory(run).checkpoint_before(find_checkpoint(run).path)
    assert before is not None
    file = before / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        with pytest.raises(CheckpointCorrupt):
            find_checkpoint(before)
    finally:
        file.write_bytes(content)
