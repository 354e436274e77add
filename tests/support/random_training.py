"""The training that a drawn configuration describes, built and trained with the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

import unbroken
from support.random_configuration import Configuration, Start
from unbroken.run.probe import Probe

TOKENS, LENGTH, FROZEN_ROWS = 19, 7, 5
TOTAL = 400
RATE = 4e-3


class Network(nn.Module):
    """Tokens in, logits of the next token out; what the configuration chooses is in it."""

    def __init__(self, chosen: Configuration) -> None:
        super().__init__()
        width = chosen.width
        self.tokens = nn.Embedding(TOKENS, width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(chosen.dropout)
        kinds: dict[str, Callable[[], nn.Module]] = {
            "layer": lambda: nn.LayerNorm(width),
            "batch": lambda: nn.BatchNorm1d(width),
            "none": nn.Identity,
        }
        self.norm = kinds[chosen.norm]()
        self.head = nn.Linear(width, TOKENS)
        if chosen.is_tied:
            self.head.weight = self.tokens.weight
        base = torch.randn(FROZEN_ROWS, width)
        if chosen.frozen == "parameter":
            self.base = nn.Parameter(base, requires_grad=False)
        elif chosen.frozen == "buffer":
            self.register_buffer("base", base)
        elif chosen.frozen == "rows":
            self.voices = nn.Parameter(torch.randn(2 * FROZEN_ROWS, width))
            self.voices.register_hook(_without_base_rows)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, time, TOKENS) of tokens (batch, time)."""
        stream = self.tokens(tokens)
        table = getattr(self, "base", getattr(self, "voices", None))
        if table is not None:
            stream = stream + table[tokens[:, :1] % len(table)]
        stream = self.norm(stream.flatten(0, 1)).view(stream.shape)
        stream = stream + self.dropout(self.down(functional.gelu(self.up(stream))))
        logits: torch.Tensor = self.head(self.dropout(stream))
        return logits


def _without_base_rows(gradient: torch.Tensor) -> torch.Tensor:
    masked = gradient.clone()
    masked[:FROZEN_ROWS] = 0
    return masked


@dataclass(slots=True, kw_only=True)
class Training:
    """What is alive in one start."""

    chosen: Configuration
    run: unbroken.Run
    model: Network
    ema: AveragedModel | None
    plateau: lr_scheduler.ReduceLROnPlateau | None
    saved_with: tuple[int, int] = (0, 0)
    """Threads, and samples of a micro-batch, of the checkpoint it goes on from."""
    said: list[str] = field(default_factory=list)
    """What the replay and the watch said."""


def build(chosen: Configuration, start: Start, directory: Path) -> Training:
    """Build everything anew; nothing is restored yet."""
    torch.manual_seed(0)
    model = Network(chosen)
    optimizers = optimizers_of(chosen.optimizer, model)
    schedules = {
        f"{name}_schedule": schedule_of(chosen.schedule, each) for name, each in optimizers.items()
    }
    plateau = None
    if chosen.schedule.endswith("ReduceLROnPlateau"):
        plateau = lr_scheduler.ReduceLROnPlateau(optimizers["main"], factor=0.6, patience=1)
    has_schedule = None not in schedules.values()
    ema = None
    if chosen.has_ema:
        ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    lengths = [i * 7 % 11 for i in range(chosen.samples)] if chosen.by_length else None
    names = [f"sample-{i}" for i in range(chosen.samples)]
    frozen: dict[str, slice | None] = {"parameter": None, "buffer": None}
    path = {"rows": {"model.voices": slice(0, FROZEN_ROWS)}, "none": {}}.get(chosen.frozen)
    declared: dict[str, Any] = {"ema": ema, "plateau": plateau}
    run = unbroken.Run(
        directory,
        order=unbroken.StepBatches(names, lengths, chosen.effective_batch, chosen.number),
        model=model,
        optimizer=optimizers if len(optimizers) > 1 else optimizers["main"],
        scheduler=schedules if has_schedule else None,
        scaler=torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=4)
        if chosen.precision == "fp16"
        else None,
        facts=facts_of(chosen, start),
        may_change=["execution.workers"],
        save_every=chosen.save_every,
        keep=2,
        overlap=chosen.number % 2 == 0,
        frozen=path if path is not None else {"model.base": frozen[chosen.frozen]},
        probe=probe_of(chosen, model) if chosen.has_probe else None,
        **{name: part for name, part in declared.items() if part is not None},
    )
    return Training(chosen=chosen, run=run, model=model, ema=ema, plateau=plateau)


def facts_of(chosen: Configuration, start: Start) -> dict[str, Any]:
    """Return what a careful user declares."""
    return {
        "settings": {"rate": RATE, "clip": chosen.clip, "schedule": chosen.schedule},
        "model": {"width": chosen.width, "dropout": chosen.dropout},
        "execution": {
            "precision": chosen.precision,
            "batch": start.micro,
            "accumulation": -(-chosen.effective_batch // start.micro),
            "workers": start.workers,
        },
    }


def optimizers_of(kind: str, model: nn.Module) -> dict[str, torch.optim.Optimizer]:
    """Return the optimisers by name; what is frozen is in none, and frozen rows don't decay."""
    named = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
    decaying = [each for name, each in named if each.dim() > 1 and name != "voices"]
    other = [each for name, each in named if each.dim() < 2 or name == "voices"]
    groups = [{"params": decaying, "weight_decay": 0.1}, {"params": other, "lr": RATE / 2}]
    if kind == "two":
        return {
            "main": torch.optim.AdamW(decaying, lr=RATE, weight_decay=0.1),
            "rest": torch.optim.SGD(other, lr=RATE, momentum=0.9, weight_decay=0.0),
        }
    if kind == "Rprop":  # it knows no decay
        return {"main": torch.optim.Rprop([*decaying, *other], lr=RATE)}
    options: dict[str, dict[str, Any]] = {
        "AdamW fused": {"fused": True},
        "AdamW amsgrad": {"amsgrad": True},
        "SGD momentum": {"momentum": 0.9},
        "ASGD": {"lambd": 0.0},  # it decays by itself, frozen rows as well
    }
    made: torch.optim.Optimizer = getattr(torch.optim, kind.partition(" ")[0])(
        groups, lr=RATE, weight_decay=0.0, **options.get(kind, {})
    )
    return {"main": made}


def schedule_of(kind: str, optimizer: torch.optim.Optimizer) -> Any:
    """Return a schedule of an optimiser."""
    if kind == "unbroken":
        numbers = {"warmup": 5, "total": TOTAL}
        return unbroken.Schedule(optimizer, unbroken.warmup_cosine(5, TOTAL), numbers)
    # Those that cycle a momentum as well only find one in some optimisers.
    cycles = "betas" in optimizer.defaults or "momentum" in optimizer.defaults
    makers: dict[str, Callable[[], Any]] = {
        "LambdaLR": lambda: lr_scheduler.LambdaLR(optimizer, lambda n: 0.97**n),
        "MultiplicativeLR": lambda: lr_scheduler.MultiplicativeLR(optimizer, lambda _: 0.97),
        "StepLR": lambda: lr_scheduler.StepLR(optimizer, 4, 0.7),
        "MultiStepLR": lambda: lr_scheduler.MultiStepLR(optimizer, [3, 7, 12], 0.5),
        "ConstantLR": lambda: lr_scheduler.ConstantLR(optimizer, 0.3, 6),
        "LinearLR": lambda: lr_scheduler.LinearLR(optimizer, 0.2, total_iters=9),
        "ExponentialLR": lambda: lr_scheduler.ExponentialLR(optimizer, 0.96),
        "SequentialLR": lambda: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.LinearLR(optimizer, 0.2, total_iters=5),
                lr_scheduler.CosineAnnealingLR(optimizer, TOTAL),
            ],
            [5],
        ),
        "PolynomialLR": lambda: lr_scheduler.PolynomialLR(optimizer, 30, 2.0),
        "CosineAnnealingLR": lambda: lr_scheduler.CosineAnnealingLR(optimizer, 12),
        "ChainedScheduler": lambda: lr_scheduler.ChainedScheduler(
            [
                lr_scheduler.ConstantLR(optimizer, 0.3, 4),
                lr_scheduler.ExponentialLR(optimizer, 0.95),
            ]
        ),
        "CyclicLR": lambda: lr_scheduler.CyclicLR(
            optimizer, RATE / 9, RATE, step_size_up=4, cycle_momentum=cycles
        ),
        "OneCycleLR": lambda: lr_scheduler.OneCycleLR(
            optimizer, RATE, total_steps=TOTAL, cycle_momentum=cycles
        ),
        "CosineAnnealingWarmRestarts": lambda: lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, 3, 2
        ),
        "SWALR": lambda: SWALR(optimizer, RATE / 4, anneal_epochs=6),
    }
    name = kind.partition(" ")[0]
    return makers[name]() if name in makers else None


def sample_of(index: int) -> torch.Tensor:
    """Return the tokens of a sample."""
    own = torch.Generator().manual_seed(index)
    return (torch.randint(1, 3, (LENGTH,), generator=own).cumsum(0) + index) % TOKENS


def _stacked(indices: list[int]) -> tuple[list[int], torch.Tensor]:
    return indices, torch.stack([sample_of(i) for i in indices])


class Samples:
    """The data set, as a loader of PyTorch's reads it."""

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        return index, sample_of(index)


def stacked(samples: list[tuple[int, torch.Tensor]]) -> tuple[list[int], torch.Tensor]:
    """Return the numbers of some samples, and their tokens (batch, LENGTH)."""
    return [index for index, _ in samples], torch.stack([each for _, each in samples])


def batches_of(run: unbroken.Run, start: Start) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yield the micro-batches from the run's position on, read ahead where there are workers."""
    coming = run.order.micro_batches(run.position, start.micro)
    last = start.until + 5  # a stopped run trains some steps more
    plan = [
        list(each.indices) for each in takewhile(lambda each: each.position.step < last, coming)
    ]
    if start.workers is None:
        samples = Samples()
        return (stacked([samples[i] for i in each]) for each in plan)
    return iter(
        DataLoader(
            Samples(),  # type: ignore[arg-type]  # a sequence is one
            batch_sampler=plan,
            num_workers=start.workers,
            collate_fn=stacked,
            generator=torch.Generator(),  # without one of its own it draws from the global one
        )
    )


def train(training: Training, start: Start) -> None:
    """Train one start to its end."""
    run = training.run
    training.model.train()
    ends_at = (start.until, start.samples)
    batches = batches_of(run, start)
    saves_at = start.saves_at
    until = start.until if start.ending == "finished" else start.until + 5
    for step in run.steps(until):
        for micro in step.micro_batches(start.micro):
            here = (micro.position.step, micro.position.samples)
            if saves_at is not None and here >= saves_at:
                run.save()
                saves_at = None
            if here >= ends_at and start.ending == "killed":
                return
            if here >= ends_at:
                run.stop.ask("the test")
            numbers, tokens = next(batches)
            assert numbers == list(micro.indices)
            step.backward(loss_of(training.chosen, training.model, tokens) / len(step.indices))
        if training.chosen.schedule == "by hand":
            for optimizer in run.optimizers:
                optimizer.param_groups[0]["lr"] = RATE / (1 + 0.1 * run.position.step)
        result = step.update(clip_norm=training.chosen.clip)
        after_update(training, result)


def after_update(training: Training, result: unbroken.StepResult) -> None:
    """Do what a loop does at the end of a step."""
    if training.ema is not None and not result.skipped:
        training.ema.update_parameters(training.model)
    if training.plateau is not None:
        training.plateau.step(result.losses["loss"])
    if training.chosen.validates and result.step % 4 == 0:
        validate(training)


def validate(training: Training) -> None:
    """Score some samples in evaluation mode, with randomness of its own, and note the score."""
    with unbroken.isolated(training.model, seed=3), torch.no_grad():
        torch.rand(3)
        score = loss_of(training.chosen, training.model, torch.stack([sample_of(99)]))
    training.run.metrics = {"val_loss": float(score)}


def loss_of(chosen: Configuration, model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Return the loss of a micro-batch: over its tokens by the mean, over its samples by the sum."""
    formats = {"bf16": torch.bfloat16, "fp16": torch.float16}
    is_mixed = chosen.precision in formats
    with torch.autocast("cpu", formats.get(chosen.precision), enabled=is_mixed):
        logits = model(tokens[:, :-1])
    total = functional.cross_entropy(logits.float().transpose(1, 2), tokens[:, 1:], reduction="sum")
    return total / (LENGTH - 1)


def probe_of(chosen: Configuration, model: nn.Module) -> Probe:
    """Return a probe of three samples."""

    def losses(batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": loss_of(chosen, model, batch["tokens"])}

    return Probe({"tokens": torch.stack([sample_of(i) for i in range(3)])}, losses, [model])
