"""The save that a framework has of its own beside that of a protected training.

Each training runs in a fresh process and saves three times. What is measured is by how much the pause
between two steps grows where it saves, and the time from there until the state is on the disk. A
framework's own files are never flushed: the benchmark does that right afterwards and counts it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from loop_start import in_new_process
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

SAVES = 3
WIDTH = 896


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is trained."""

    layers: int
    """Layers of the model; 10 make 96 MB of weights and moments."""
    steps_between: int
    """Steps from a save to the next; the first comes after as many."""

    @property
    def steps(self) -> int:
        """All steps."""
        return SAVES * self.steps_between


@dataclass(slots=True)
class Pauses:
    """The pauses between two steps, and how long it takes to flush what was written in one.

    Args:
        plan: Says after which steps the training saves.
        files: Where a framework writes; None where the run's history tells when its state was there.
    """

    plan: Plan
    files: Path | None
    began: float = 0.0
    steps: int = 0
    usual: list[float] = field(default_factory=list)
    saving: list[tuple[float, float, float]] = field(default_factory=list)
    """Beginning, as `time.time` tells it, seconds, and seconds of flushing."""

    def step_ends(self) -> None:
        """Begin a pause."""
        self.steps += 1
        self.began = time.time()

    def step_begins(self) -> None:
        """End it."""
        if not self.steps:
            return
        pause = time.time() - self.began
        if self.steps % self.plan.steps_between:
            self.usual.append(pause)
            return
        flushed = 0.0
        if self.files is not None:
            before = time.perf_counter()
            flush(self.files)
            flushed = time.perf_counter() - before
        self.saving.append((self.began, pause, flushed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a save costs, in seconds; medians."""

    stall: float
    """How long the training stands still."""
    durable: float
    """From the end of the step until its state is on the disk."""


def flush(folder: Path) -> None:
    """Flush all files below a folder to the disk, and the folders."""
    for each in [folder, *folder.rglob("*")]:
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def cost_of(pauses: Pauses, history: Path | None) -> Cost:
    """Return what the saves cost; a run's history tells when its states were on the disk."""
    usual = median(pauses.usual)
    lines = [json.loads(each) for each in history.read_text().splitlines()] if history else []
    committed = [line["time"] for line in lines if line["event"] == "saved"]
    durable = [
        min(each for each in committed if each > began) - began if history else pause + flushed
        for began, pause, flushed in pauses.saving
    ]
    stall = median(pause for _, pause, _ in pauses.saving) - usual
    return Cost(stall=stall, durable=median(durable))


def layered(layers: int) -> nn.Module:
    """Return a model."""
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(layers)))


def with_accelerate(plan: Plan, place: Path, *, protected: bool) -> Cost:
    """Train a loop over Accelerate."""
    from accelerate import Accelerator

    from unbroken.integrations.accelerate import protect

    accelerator = Accelerator(cpu=True)
    loader = DataLoader(TensorDataset(torch.randn(plan.steps + 1, WIDTH)), batch_size=1)
    model = layered(plan.layers)
    prepared = accelerator.prepare(model, torch.optim.AdamW(model.parameters()), loader)
    model, optimizer, loader = prepared
    pauses = Pauses(plan, None if protected else place)
    batches: Any = loader
    if protected:
        run = protect(accelerator, place, data=loader, save_every=plan.steps_between)
        batches = run.batches(plan.steps + 1)
    for (inputs,) in batches:
        pauses.step_begins()
        accelerator.backward(model(inputs).square().mean())
        optimizer.step()
        optimizer.zero_grad()
        pauses.step_ends()
        if not protected and not pauses.steps % plan.steps_between:
            accelerator.save_state(str(place / f"state-{pauses.steps}"))
    return cost_of(pauses, place / "history.jsonl" if protected else None)


def with_lightning(plan: Plan, place: Path, *, protected: bool) -> Cost:
    """Train with Lightning."""
    import lightning.pytorch as pl

    from unbroken.integrations.lightning import protect

    pauses = Pauses(plan, None if protected else place)

    class Told(pl.Callback):  # type: ignore[misc]  # Lightning is not typed
        def on_train_batch_start(self, *_: Any) -> None:
            pauses.step_begins()

        def on_train_batch_end(self, *_: Any) -> None:
            pauses.step_ends()

    class Module(pl.LightningModule):  # type: ignore[misc]  # likewise
        def __init__(self) -> None:
            super().__init__()
            self.net = layered(plan.layers)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            loss: torch.Tensor = self.net(batch[0]).square().mean()
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

    own = pl.callbacks.ModelCheckpoint(
        place, every_n_train_steps=plan.steps_between, save_top_k=-1, save_on_train_epoch_end=False
    )
    trainer = pl.Trainer(
        max_steps=plan.steps + 1,
        default_root_dir=place,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=not protected,
        callbacks=[Told()] if protected else [Told(), own],
    )
    if protected:
        protect(trainer, save_every=plan.steps_between)
    samples = torch.randn(plan.steps + 1, WIDTH)
    trainer.fit(Module(), DataLoader(TensorDataset(samples), batch_size=1, shuffle=True))
    return cost_of(pauses, history_below(place) if protected else None)


class _Sequences(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, count: int) -> None:
        self.ids = torch.randint(64, (count, 8))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.ids[index], "labels": self.ids[index]}


def with_trainer(plan: Plan, place: Path, *, protected: bool, folders: bool = True) -> Cost:
    """Train with the Trainer of Hugging Face; `folders`: it writes its own `checkpoint-N`."""
    import transformers

    from unbroken.integrations.transformers import protect

    pauses = Pauses(plan, None if protected else place)

    class Told(transformers.TrainerCallback):  # type: ignore[misc]  # it is not typed
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            pauses.step_begins()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            pauses.step_ends()

    config = transformers.GPT2Config(
        n_layer=max(1, plan.layers * 4 // 10), n_head=4, n_embd=384, n_positions=8, vocab_size=64,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    arguments = transformers.TrainingArguments(
        output_dir=str(place), max_steps=plan.steps + 1, per_device_train_batch_size=1,
        save_strategy="steps" if folders else "no", save_steps=plan.steps_between,
        report_to=[], use_cpu=True, disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=transformers.GPT2LMHeadModel(config),
        args=arguments,
        train_dataset=_Sequences(plan.steps + 1),
        callbacks=[Told()],
    )
    if protected:
        protect(trainer, save_every=0 if folders else plan.steps_between)
    trainer.train()
    return cost_of(pauses, history_below(place) if protected else None)


def history_below(place: Path) -> Path:
    """Return the history of the run that an adapter has put below a directory."""
    (found,) = place.rglob("history.jsonl")
    return found


def save_table(plan: Plan) -> Iterator[str]:
    """Yield the lines of the table."""
    rows: list[tuple[str, Any, dict[str, Any]]] = [
        ("Accelerate, `save_state`", with_accelerate, {}),
        ("Lightning, `ModelCheckpoint`", with_lightning, {}),
        ("Trainer, `checkpoint-N`", with_trainer, {"folders": False}),
        ("the same, which is written as well", with_trainer, {}),
    ]
    yield "| saved by | stall, s | protected | ratio | durable after, s | protected | ratio |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    own: dict[Any, Cost] = {}
    for name, train, how in rows:
        if train not in own:
            own[train] = _measured(train, plan, protected=False)
        theirs, ours = own[train], _measured(train, plan, protected=True, **how)
        yield (
            f"| {name} | {theirs.stall:.2f} | {ours.stall:.2f} | {ours.stall / theirs.stall:.2f} | "
            f"{theirs.durable:.2f} | {ours.durable:.2f} | {ours.durable / theirs.durable:.2f} |"
        )


def _measured(train: Any, plan: Plan, **how: Any) -> Cost:
    with tempfile.TemporaryDirectory() as place:
        cost: Cost = in_new_process(train, plan, Path(place), **how)
        return cost
