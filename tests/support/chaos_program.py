"""A short training of each kind that writes its last weights into a file: killed at every file event.

python chaos_program.py KIND OUT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DATA = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))


def model_of() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 1))


def plain(out: Path) -> nn.Module:
    """Train over a loader, in epochs."""
    import unbroken

    model = model_of()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(DATA), 8, shuffle=True)
    run = unbroken.Run(out / "run", data=loader, model=model, optimizer=optimizer, save_every=3)
    for _ in run.epochs(2):
        for (batch,) in run.batches():
            model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return model


def unchanged(out: Path) -> nn.Module:
    """The same, with a loop that knows nothing of us."""
    import unbroken

    def train() -> nn.Module:
        model = model_of()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        loader = DataLoader(TensorDataset(DATA), 8, shuffle=True)
        for _ in range(2):
            for (batch,) in loader:
                model(batch).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        return model

    return unbroken.protect(out / "run", save_every=3)(train)()


def trainer(out: Path) -> bytes:
    """The trainer of text to speech, with the flags in CHAOS_FLAGS; return what it saved last."""
    from support.tiny_trainer import leaf_digests
    from unbroken_tts.cli.main import main as program

    flags = json.loads(os.environ["CHAOS_FLAGS"])
    code = program(["train", "--resume", "auto", "--output-dir", str(out / "run"), *flags])
    if code:
        raise SystemExit(code)
    return json.dumps(leaf_digests(out / "run"), sort_keys=True).encode()


def accelerate(out: Path) -> nn.Module:
    """The same with Accelerate, and with its own folders beside."""
    from accelerate import Accelerator

    from unbroken.integrations.accelerate import protect

    accelerator: Any = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model: Any = model_of()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader: Any = DataLoader(TensorDataset(DATA), 8, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    run = protect(accelerator, out / "run", data=loader, save_every=3)
    for epoch in run.epochs(2):
        for (batch,) in run.batches():
            with accelerator.accumulate(model):
                accelerator.backward(model(batch).square().mean())
                optimizer.step()
                optimizer.zero_grad()
        accelerator.save_state(str(out / f"state-{epoch}"))
    trained: nn.Module = model
    return trained


def lightning(out: Path) -> nn.Module:
    """The same with Lightning, and its checkpoint files."""
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint

    from unbroken.integrations.lightning import protect

    class Module(pl.LightningModule):  # type: ignore[misc]  # it is read without its types
        def __init__(self) -> None:
            super().__init__()
            self.net = model_of()

        def training_step(self, batch: Any) -> torch.Tensor:
            loss: torch.Tensor = self.net(batch[0]).square().mean()
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    module = Module()
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=out,
        callbacks=[ModelCheckpoint(out / "files", every_n_train_steps=3, save_top_k=-1)],
    )  # fmt: skip
    protect(trainer, save_every=3, seed=1)
    trainer.fit(module, DataLoader(TensorDataset(DATA), 8, shuffle=True))
    return module


def transformers(out: Path) -> nn.Module:
    """The same with the Trainer of transformers, and its folders."""
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

    from unbroken.integrations.transformers import protect

    set_seed(1)
    config = GPT2Config(n_layer=1, n_head=2, n_embd=8, n_positions=8, vocab_size=16)
    config.bos_token_id = config.eos_token_id = 0
    ids = torch.randint(16, (32, 8), generator=torch.Generator().manual_seed(1))
    samples: Any = [{"input_ids": each, "labels": each} for each in ids]
    given = TrainingArguments(
        output_dir=str(out / "trainer"), num_train_epochs=2, per_device_train_batch_size=8,
        save_steps=3, logging_steps=2, report_to=[], disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    trainer = Trainer(model=GPT2LMHeadModel(config), args=given, train_dataset=samples)
    protect(trainer)
    trainer.train()
    model: nn.Module = trainer.model
    return model


def main() -> None:
    """Train, and write the weights last."""
    kind, out = sys.argv[1], Path(sys.argv[2])
    kinds: Any = (plain, unchanged, trainer, accelerate, lightning, transformers)
    end = {each.__name__: each for each in kinds}[kind](out)
    if isinstance(end, nn.Module):
        end = b"".join(each.detach().numpy().tobytes() for each in end.parameters())
    (out / "end.bin").write_bytes(end)


if __name__ == "__main__":
    main()
