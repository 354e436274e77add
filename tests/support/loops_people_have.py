"""The loops of well-known examples, resumed in their own way and in ours: a program that may be killed.

    python loops_people_have.py KIND WAY DIRECTORY [KILLED_AT]

WAY is `own` or `unbroken`. The process gets SIGKILL at its KILLED_AT-th update. Started again, it goes on;
at its end it prints a digest of the weights. Each trains a model with dropout on shuffled samples, as most
trainings do, and saves at every fourth update.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset

SAVE_EVERY = 4
EPOCHS = 3
DATA = torch.randn(48, 4, generator=torch.Generator().manual_seed(1))
NEEDS = {"torchdata": "torchdata", "accelerate": "accelerate", "lightning": "lightning",
         "transformers": "transformers"}  # fmt: skip
"""Packages beside torch, by kind."""


def built() -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    """Return model, optimizer and schedule."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 5)


def update(model: nn.Module, optimizer: Any, schedule: Any, batch: torch.Tensor) -> None:
    """Train on a batch."""
    model(batch).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()


def loop_own(out: Path) -> nn.Module:
    """The loop of the tutorials: a dict by torch.save, the next epoch at a resume."""
    model, optimizer, schedule = built()
    loader = DataLoader(TensorDataset(DATA), 8, shuffle=True)
    first, file = 0, out / "checkpoint.pt"
    if file.exists():
        saved = torch.load(file)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        first = saved["epoch"] + 1
    for epoch in range(first, EPOCHS):
        for (batch,) in loader:
            update(model, optimizer, schedule, batch)
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        torch.save({**{n: p.state_dict() for n, p in parts.items()}, "epoch": epoch}, file)
    return model


def loop_unbroken(out: Path) -> nn.Module:
    """The same, its epochs and batches given out by a run."""
    import unbroken

    model, optimizer, schedule = built()
    loader = DataLoader(TensorDataset(DATA), 8, shuffle=True)
    run = unbroken.Run(
        out, data=loader, model=model, optimizer=optimizer, scheduler=schedule, save_every=SAVE_EVERY
    )
    for _ in run.epochs(EPOCHS):
        for (batch,) in run.batches():
            update(model, optimizer, schedule, batch)
    return model


def unchanged_unbroken(out: Path) -> nn.Module:
    """The same, its lines as they are."""
    import unbroken

    def train() -> nn.Module:
        model, optimizer, schedule = built()
        loader = DataLoader(TensorDataset(DATA), 8, shuffle=True)
        for _ in range(EPOCHS):
            for (batch,) in loader:
                update(model, optimizer, schedule, batch)
        return model

    return unbroken.protect(out, save_every=SAVE_EVERY)(train)()


def drawn() -> torch.Tensor:
    """Return a batch that the loop draws itself."""
    return DATA[torch.randint(len(DATA), (8,))]


def nanogpt_own(out: Path) -> nn.Module:
    """The loop of nanoGPT: it draws its batches, and saves its number of iterations."""
    model, optimizer, schedule = built()
    first, file = 0, out / "ckpt.pt"
    if file.exists():
        saved = torch.load(file)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["iter_num"]
        schedule.last_epoch = first
    for number in range(first, 18):
        if number and number % SAVE_EVERY == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**state, "iter_num": number}, file)
        update(model, optimizer, schedule, drawn())
    return model


def nanogpt_unbroken(out: Path) -> nn.Module:
    """The same, its iterations given out by a run."""
    import unbroken

    model, optimizer, schedule = built()
    run = unbroken.Run(
        out, model=model, optimizer=optimizer, scheduler=schedule, save_every=SAVE_EVERY
    )
    for _ in run.iterations(18):
        update(model, optimizer, schedule, drawn())
    return model


def torchdata_own(out: Path) -> nn.Module:
    """A StatefulDataLoader, saved with the parts in the middle of epochs."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    model, optimizer, schedule = built()
    loader = StatefulDataLoader(TensorDataset(DATA), 8, shuffle=True)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule, "data": loader}
    first, done, file = 0, 0, out / "checkpoint.pt"
    if file.exists():
        saved = torch.load(file, weights_only=False)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        first, done = saved["epoch"], saved["done"]
    for epoch in range(first, EPOCHS):
        for (batch,) in loader:
            update(model, optimizer, schedule, batch)
            done += 1
            if done % SAVE_EVERY == 0:
                state = {n: p.state_dict() for n, p in parts.items()}
                torch.save({**state, "epoch": epoch, "done": done}, file)
    return model


def torchdata_unbroken(out: Path) -> nn.Module:
    """The same, its batches given out by a run."""
    import unbroken
    from torchdata.stateful_dataloader import StatefulDataLoader

    model, optimizer, schedule = built()
    loader = StatefulDataLoader(TensorDataset(DATA), 8, shuffle=True)
    run = unbroken.Run(
        out, data=loader, model=model, optimizer=optimizer, scheduler=schedule, save_every=SAVE_EVERY
    )
    for _ in run.epochs(EPOCHS):
        for (batch,) in run.batches():
            update(model, optimizer, schedule, batch)
    return model


def prepared() -> tuple[Any, Any, Any, Any, Any]:
    """Return an accelerator, and what it has prepared."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, optimizer, schedule = built()
    loader: Any = DataLoader(TensorDataset(DATA), 8, shuffle=True)
    return accelerator, *accelerator.prepare(model, optimizer, schedule, loader)


def accelerate_own(out: Path) -> nn.Module:
    """The loop of Accelerate's example on checkpoints: save_state, load_state, skip_first_batches."""
    accelerator, model, optimizer, schedule, loader = prepared()
    folders = sorted(out.glob("step_*"), key=lambda each: int(each.name.partition("_")[2]))
    done = 0
    if folders:
        accelerator.load_state(str(folders[-1]))
        done = int(folders[-1].name.partition("_")[2])
    first, inside = divmod(done, len(loader))
    for epoch in range(first, EPOCHS):
        active = accelerator.skip_first_batches(loader, inside) if epoch == first else loader
        for (batch,) in active:
            accelerator.backward(model(batch).square().mean())
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            done += 1
            if done % SAVE_EVERY == 0:
                accelerator.save_state(str(out / f"step_{done}"))
    trained: nn.Module = model
    return trained


def accelerate_unbroken(out: Path) -> nn.Module:
    """The same, protected."""
    from unbroken.integrations.accelerate import protect

    accelerator, model, optimizer, schedule, loader = prepared()
    run = protect(accelerator, out / "run", data=loader, save_every=SAVE_EVERY)
    for _ in run.epochs(EPOCHS):
        for (batch,) in run.batches():
            accelerator.backward(model(batch).square().mean())
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    trained: nn.Module = model
    return trained


def _lightning(out: Path, *, is_protected: bool) -> nn.Module:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint

    class Module(pl.LightningModule):  # type: ignore[misc]  # it is read without its types
        def __init__(self) -> None:
            super().__init__()
            self.net, self.optimizer, self.schedule = built()

        def training_step(self, batch: Any) -> torch.Tensor:
            loss: torch.Tensor = self.net(batch[0]).square().mean()
            return loss

        def configure_optimizers(self) -> Any:
            return [self.optimizer], [{"scheduler": self.schedule, "interval": "step"}]

    files = out / "files"
    saving = ModelCheckpoint(files, every_n_train_steps=SAVE_EVERY, save_last=True)
    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=out, callbacks=[saving],
    )  # fmt: skip
    module, last = Module(), files / "last.ckpt"
    given: dict[str, Any] = {}
    if is_protected:
        from unbroken.integrations.lightning import protect

        protect(trainer, save_every=SAVE_EVERY, seed=1)
    elif last.exists():
        given = {"ckpt_path": last, "weights_only": False}
    trainer.fit(module, DataLoader(TensorDataset(DATA), 8, shuffle=True), **given)
    return module


def lightning_own(out: Path) -> nn.Module:
    """Lightning's Trainer with ModelCheckpoint; `ckpt_path` at a resume."""
    return _lightning(out, is_protected=False)


def lightning_unbroken(out: Path) -> nn.Module:
    """The same, protected."""
    return _lightning(out, is_protected=True)


def _transformers(out: Path, *, is_protected: bool) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed
    from transformers.trainer_utils import get_last_checkpoint

    class Drawing(torch.utils.data.Dataset[Any]):
        """Samples with noise in them, as augmentation makes it."""

        ids = torch.randint(16, (48, 8), generator=torch.Generator().manual_seed(1))

        def __len__(self) -> int:
            return len(self.ids)

        def __getitem__(self, index: int) -> Any:
            ids = torch.where(torch.rand(8) < 0.1, 0, self.ids[index])
            return {"input_ids": ids, "labels": ids}

    set_seed(1)
    config = GPT2Config(n_layer=1, n_head=2, n_embd=8, n_positions=8, vocab_size=16)
    config.bos_token_id = config.eos_token_id = 0
    given = TrainingArguments(
        output_dir=str(out / "trainer"), num_train_epochs=EPOCHS, per_device_train_batch_size=8,
        save_steps=SAVE_EVERY, logging_steps=99, report_to=[], disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    trainer = Trainer(model=GPT2LMHeadModel(config), args=given, train_dataset=Drawing())
    if is_protected:
        from unbroken.integrations.transformers import protect

        protect(trainer)
        trainer.train()
    else:
        (out / "trainer").mkdir(exist_ok=True)
        last = get_last_checkpoint(out / "trainer")
        trainer.train(resume_from_checkpoint=last)
    model: nn.Module = trainer.model
    return model


def transformers_own(out: Path) -> nn.Module:
    """The Trainer of Hugging Face, on samples that draw; `resume_from_checkpoint`."""
    return _transformers(out, is_protected=False)


def transformers_unbroken(out: Path) -> nn.Module:
    """The same, protected."""
    return _transformers(out, is_protected=True)


def kill_at(update_number: int) -> None:
    """Kill this process at one of its updates."""
    updates: Iterator[int] = iter(range(1, 10**6))

    def after(*_: Any) -> None:
        if next(updates) == update_number:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_post_hook(after)


def main() -> None:
    """Train, and print a digest of the weights."""
    from unbroken.state.digest import tensor_digest

    kind, way, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 4:
        kill_at(int(sys.argv[4]))
    train: Callable[[Path], nn.Module] = globals()[f"{kind}_{way}"]
    model = train(out)
    flat = torch.cat([each.detach().flatten() for each in model.parameters()])
    sys.stdout.write(f"weights {tensor_digest(flat)}\n")


if __name__ == "__main__":
    main()
