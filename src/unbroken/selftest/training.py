"""The tiny training of the self-test: its plan stands for the user's code, which a fault changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from unbroken.loop.schedule import Schedule, warmup_cosine
from unbroken.order.step_batches import StepBatches
from unbroken.run.probe import Probe
from unbroken.run.run import Run
from unbroken.run.step import Step
from unbroken.run.step_result import StepResult
from unbroken.selftest.checks import CHECKS
from unbroken.selftest.model import NEW_VOICES, OLD_VOICES, Model

LENGTH = 9
"""Tokens of a sample; each except the last predicts the next."""

Hook = Callable[["TrialTraining"], None]


@dataclass(slots=True, kw_only=True)
class TrainingPlan:
    """The decisions of the user's program: numbers, and functions for building and for the loop."""

    samples: int = 44
    vocabulary: int = 29
    width: int = 16
    dropout: float = 0.1
    effective_batch: int = 8
    micro: int = 4
    seed: int = 7
    learning_rate: float = 4e-3
    weight_decay: float = 0.1
    warmup: int = 6
    total: int = 60
    clip: float = 1.0
    on_nonfinite: Literal["stop", "skip"] = "stop"
    device: str = "cpu"
    pieces: Sequence[int] = tuple(range(29))
    """The tokenizer: the id of each piece of text."""
    save_every: int = 0
    build_model: Callable[[TrainingPlan], Any] = field(default_factory=lambda: model_of)
    build_optimizer: Callable[[TrainingPlan, Any], Any] = field(
        default_factory=lambda: optimizer_of
    )
    build_schedule: Callable[[TrainingPlan, Any], Any] = field(default_factory=lambda: schedule_of)
    build_scaler: Callable[[TrainingPlan], Any] = field(default=lambda _: None)
    sample: Callable[[TrainingPlan, int], torch.Tensor] = field(default_factory=lambda: sample_of)
    names: Callable[[TrainingPlan], list[str]] = field(
        default=lambda plan: [f"sample-{i}" for i in range(plan.samples)]
    )
    loss: Callable[[TrialTraining, torch.Tensor, torch.Tensor], torch.Tensor] = field(
        default=lambda _, logits, targets: cross_entropy(logits, targets)
    )
    bring: Callable[[TrainingPlan], dict[str, Any]] = field(default=lambda _: {})
    """Builds further parts by name: models, optimisers that the loop steps, generators."""
    loader: Callable[[TrainingPlan], Any] | None = None
    """Builds the loader of a loop that keeps its own; without one the run has step batches."""
    own_order: Callable[[TrialTraining, Step], Sequence[int]] | None = None
    """The order of a loop that chooses its own samples and passes their names."""
    unchecked_order: Callable[[], Callable[[TrialTraining, Step], Sequence[int]]] | None = None
    """Makes the order of a loop without checks, if it is not a function of the position."""
    after_build: list[Hook] = field(default_factory=list)
    after_resume: list[Hook] = field(default_factory=list)
    before_step: list[Hook] = field(default_factory=list)
    before_update: list[Hook] = field(default_factory=list)
    after_step: list[Hook] = field(default_factory=list)

    @property
    def kind_of_device(self) -> str:
        """`cpu` or `cuda`, without a number."""
        return self.device.partition(":")[0]

    def facts(self) -> dict[str, Any]:
        """Return the facts that a careful user declares."""
        tokens = b"".join(bytes(self.sample(self, i).tolist()) for i in range(self.samples))
        return {
            "settings": {
                "learning_rate": self.learning_rate,
                "weight_decay": self.weight_decay,
                "warmup": self.warmup,
                "total": self.total,
                "clip": self.clip,
            },
            "model": {"width": self.width, "dropout": self.dropout},
            "vocabulary": self.vocabulary,
            "tokenizer": hashlib.blake2b(bytes(self.pieces), digest_size=8).hexdigest(),
            "data": {"train": hashlib.blake2b(tokens, digest_size=8).hexdigest()},
        }


@dataclass(slots=True, kw_only=True)
class TrialTraining:
    """The live objects of a training."""

    plan: TrainingPlan
    run: Run
    model: Any
    optimizer: Any
    schedule: Any
    scaler: Any
    ema: Any
    brought: dict[str, Any]
    """Further parts, by name."""
    is_unchecked: bool = False
    """Whether it continues without checks."""
    results: list[StepResult] = field(default_factory=list)


def build(plan: TrainingPlan, directory: Path) -> TrialTraining:
    """Build all objects, as a program does at each start; nothing is restored yet."""
    torch.manual_seed(0)
    model = plan.build_model(plan)
    optimizer = plan.build_optimizer(plan, model)
    schedule = plan.build_schedule(plan, optimizer)
    scaler = plan.build_scaler(plan)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    brought = plan.bring(plan)
    loader = plan.loader(plan) if plan.loader else None
    run = Run(
        directory,
        data=loader,
        order=None if plan.loader else step_batches_of(plan),
        model=model,
        optimizer=optimizer,
        scheduler=schedule,
        scaler=scaler,
        facts=plan.facts(),
        checks=CHECKS,
        frozen={"model.old_voices": None},
        seed=plan.seed if plan.loader else None,
        probe=probe_of(plan, model),
        save_every=plan.save_every,
        ema=ema,
        **brought,
    )
    training = TrialTraining(
        plan=plan,
        run=run,
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        scaler=scaler,
        ema=ema,
        brought=brought,
    )
    for hook in plan.after_build:
        hook(training)
    return training


def train(training: TrialTraining, until: int) -> None:
    """Train until `until` steps are completed, with the loop of the user's program.

    It leaves the loop at the beginning of the next step, so that nothing is saved at the end.
    """
    plan = training.plan
    if plan.loader is not None:
        _train_batches(training, until)
        return
    make_order = plan.unchecked_order if training.is_unchecked else None
    loose_order = None if make_order is None else make_order()
    for step in training.run.steps(until + 1):
        if step.number > until:
            break
        for hook in plan.before_step:
            hook(training)
        takes = plan.own_order or loose_order
        own = step.indices if takes is None else takes(training, step)
        if not training.is_unchecked:
            step.require_samples([training.run.order.ids[i] for i in own])
        for micro in step.micro_batches(plan.micro):
            start = micro.position.samples
            chosen = own[start : start + len(micro.indices)]
            logits, targets = forward(plan, training.model, chosen)
            step.backward(plan.loss(training, logits, targets) / len(step.indices))
        for hook in plan.before_update:
            hook(training)
        training.results.append(step.update(clip_norm=plan.clip, on_nonfinite=plan.on_nonfinite))
        training.ema.update_parameters(training.model)
        for hook in plan.after_step:
            hook(training)


def _train_batches(training: TrialTraining, until: int) -> None:
    """Train until `until` batches are completed, with a loop over the loader that updates itself.

    A program that saves ends there; another leaves the loop in the next batch, so that nothing is saved.
    """
    plan, run = training.plan, training.run
    for indices, tokens in run.batches(until if plan.save_every else until + 1):
        if run.position.step == until:
            break
        for hook in plan.before_step:
            hook(training)
        voices = indices % (OLD_VOICES + NEW_VOICES)
        logits = training.model(tokens[:, :-1], voices)
        loss = plan.loss(training, logits, tokens[:, 1:]) / len(indices)
        loss.backward()
        nn.utils.clip_grad_norm_(training.model.parameters(), plan.clip)
        for hook in plan.before_update:
            hook(training)
        training.optimizer.step()
        training.optimizer.zero_grad()
        training.schedule.step()
        training.ema.update_parameters(training.model)
        run.log(loss=loss)
        training.results.append(
            StepResult(step=run.position.step + 1, losses={"loss": loss.item()})
        )
        for hook in plan.after_step:
            hook(training)


def step_batches_of(plan: TrainingPlan) -> StepBatches:
    """Return the order of a loop over `run.steps()`."""
    return StepBatches(plan.names(plan), None, plan.effective_batch, plan.seed)


def forward(
    plan: TrainingPlan, model: Any, indices: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits and the targets of some samples."""
    tokens = torch.stack([plan.sample(plan, i) for i in indices]).to(plan.device)
    voices = torch.tensor([i % (OLD_VOICES + NEW_VOICES) for i in indices], device=plan.device)
    return model(tokens[:, :-1], voices), tokens[:, 1:]


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of a micro-batch: over its tokens by the mean, over its samples by the sum."""
    total = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="sum")
    return total / targets.shape[1]


def model_of(plan: TrainingPlan) -> Model:
    """Return the plan's model, fresh."""
    return Model(plan.vocabulary, plan.width, plan.dropout).to(plan.device)


def optimizer_of(plan: TrainingPlan, model: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW with two groups: with and without weight decay."""
    named = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
    decaying = [each for _, each in named if each.dim() > 1]
    other = [each for _, each in named if each.dim() < 2]
    groups = [
        {"params": decaying, "weight_decay": plan.weight_decay},
        {"params": other, "weight_decay": 0.0, "lr": 0.5 * plan.learning_rate},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate)


def schedule_of(plan: TrainingPlan, optimizer: torch.optim.Optimizer) -> Schedule:
    """Return warm-up and cosine as a function of the updates."""
    numbers = {"warmup": plan.warmup, "total": plan.total}
    return Schedule(optimizer, warmup_cosine(plan.warmup, plan.total), numbers)


def sample_of(plan: TrainingPlan, index: int) -> torch.Tensor:
    """Return the tokens of a sample: a noisy walk through the pieces of text."""
    own = torch.Generator().manual_seed(index)
    steps = torch.randint(1, 4, (LENGTH,), generator=own).cumsum(0) + index
    return torch.tensor([plan.pieces[int(i)] for i in steps % len(plan.pieces)])


def probe_of(plan: TrainingPlan, model: Any) -> Probe:
    """Return a probe of four samples."""
    logits_of = range(4)

    def losses(batch: Any) -> dict[str, torch.Tensor]:
        voices = torch.tensor(list(logits_of), device=plan.device)
        tokens = batch["tokens"].to(plan.device)
        return {"loss": cross_entropy(model(tokens[:, :-1], voices), tokens[:, 1:])}

    tokens = torch.stack([sample_of(plan, i) for i in logits_of])
    return Probe({"tokens": tokens}, losses, [model])
