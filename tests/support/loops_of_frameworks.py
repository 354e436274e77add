"""The loops of frameworks, resumed in their own way and in ours; see `loops_people_have`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from support.loop_model import DATA, EPOCHS, SAVE_EVERY, built


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
