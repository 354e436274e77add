"""A loop over Accelerate: stopped anywhere it goes on exactly, and its folders are whole or refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import unbroken
from unbroken.integrations.accelerate import folders
from unbroken.integrations.listed_folder import LIST
from unbroken.testing import assert_resume_is_exact

accelerate = pytest.importorskip("accelerate")
protect = pytest.importorskip("unbroken.integrations.accelerate").protect

DATA = torch.randn(11, 4, generator=torch.Generator().manual_seed(3))


class Registered:
    """What a program registers for checkpointing."""

    def __init__(self) -> None:
        self.seen = 0

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


class Program:
    """What the examples of Accelerate build."""

    def __init__(self, batch_size: int = 4, **options: Any) -> None:
        accelerate.utils.set_seed(3)
        self.accelerator = accelerate.Accelerator(
            cpu=True, gradient_accumulation_steps=2, **options
        )
        model = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.2), nn.Linear(5, 1))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 / (1 + n))
        loader = DataLoader(TensorDataset(DATA), batch_size, shuffle=True)
        prepared = self.accelerator.prepare(model, optimizer, loader, schedule)
        self.model, self.optimizer, self.loader, self.schedule = prepared
        self.registered = Registered()
        self.accelerator.register_for_checkpointing(self.registered)


def train(directory: Path, _: int = 0, **options: Any) -> Any:
    """Train in the shape of the examples, with accumulation and clipping."""
    program = Program(**options)
    accelerator, model, optimizer = program.accelerator, program.model, program.optimizer
    run = protect(accelerator, directory, data=program.loader, save_every=0)
    for _ in run.epochs(2):
        model.train()
        for (batch,) in run.batches():
            with accelerator.accumulate(model):
                accelerator.backward(model(batch).square().mean())
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                program.schedule.step()
                optimizer.zero_grad()
            program.registered.seen += len(batch)
    run.close()
    return {"model": model, "optimizer": optimizer.optimizer, "registered": program.registered}


def test_a_loop_goes_on_exactly_wherever_it_was_stopped() -> None:
    """Inside a cycle of accumulation too, whose counter goes on."""
    assert_resume_is_exact(train, 6)


def test_what_the_accelerator_decides_is_a_fact(tmp_path: Path) -> None:
    """Another precision, or another number of batches to gather, is another training."""
    train(tmp_path)
    accelerate.state.AcceleratorState._reset_state(
        reset_partial_state=True
    )  # as accelerate's own tests do
    with pytest.raises(unbroken.ResumeRefused, match="mixed_precision is 'bf16', was 'no'"):
        train(tmp_path, mixed_precision="bf16")
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)  # likewise


def test_another_batch_size_is_told_and_leaves_nothing_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is left of the epoch makes batches of the new size, as in a plain loop."""
    caplog.set_level(logging.INFO, "unbroken")
    seen: list[float] = []
    for batch_size, batches in ((4, 1), (3, 4)):
        program = Program(batch_size)
        run = protect(program.accelerator, tmp_path, data=program.loader, save_every=1)
        for (batch,) in run.batches(batches):
            seen += batch[:, 0].tolist()
            program.accelerator.backward(program.model(batch).square().mean())
            program.optimizer.step()
            program.optimizer.zero_grad()
        run.close()
    assert "Batch size changed! Checkpoint: 4, Current: 3" in caplog.text
    assert sorted(seen) == sorted(DATA[:, 0].tolist())


def saved(tmp_path: Path) -> tuple[Any, Path]:
    """Return a protected accelerator, and a folder that it has saved."""
    program = Program()
    protect(program.accelerator, tmp_path / "run", data=program.loader)
    program.accelerator.save_state(str(tmp_path / "state"))
    return program.accelerator, tmp_path / "state"


def test_its_own_folders_are_loaded(tmp_path: Path) -> None:
    """What `save_state` wrote is whole, and `load_state` takes it."""
    accelerator, folder = saved(tmp_path)
    assert (folder / LIST).is_file()
    assert not (folder / folders.INCOMPLETE).exists()
    accelerator.load_state(str(folder))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "random_states_0.pkl").unlink(), "random_states_0.pkl is missing"),
        (lambda f: (f / "optimizer.bin").write_bytes(b"x"), "optimizer.bin is damaged"),
        (lambda f: (f / LIST).write_bytes(b"{"), "can't be read"),
        (folders.begin, "it was never finished"),
    ],
    ids=["a file is gone", "a file is torn", "the digests are torn", "killed while it was saved"],
)
def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path, damage: Any, said: str) -> None:
    """By name, and nothing is loaded."""
    accelerator, folder = saved(tmp_path)
    damage(folder)
    with pytest.raises(unbroken.CheckpointCorrupt, match=said):
        accelerator.load_state(str(folder))


def test_with_names_of_its_own_the_newest_whole_folder_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Accelerate takes the highest number, whatever is in it."""
    configuration = accelerate.utils.ProjectConfiguration(
        project_dir=str(tmp_path / "project"), automatic_checkpoint_naming=True
    )
    program = Program(project_config=configuration)
    protect(program.accelerator, tmp_path / "run", data=program.loader)
    for seen in (1, 2):
        program.registered.seen = seen
        program.accelerator.save_state()
    (tmp_path / "project/checkpoints/checkpoint_1/optimizer.bin").write_bytes(b"x")
    program.accelerator.load_state()
    assert program.registered.seen == 1
    assert "optimizer.bin is damaged" in caplog.text


def test_what_can_not_be_protected_is_refused(tmp_path: Path) -> None:
    """Before anything is written."""
    program = Program()
    protect(program.accelerator, tmp_path / "run", data=program.loader)
    with pytest.raises(unbroken.RunMisused, match="called twice"):
        protect(program.accelerator, tmp_path / "other")
    with pytest.raises(unbroken.SettingsInvalid, match="prepared no model"):
        protect(accelerate.Accelerator(cpu=True), tmp_path / "other")
    with pytest.raises(unbroken.RunMisused, match="has no _models, _optimizers"):
        protect(object(), tmp_path / "other")
    assert not list(tmp_path.iterdir())
