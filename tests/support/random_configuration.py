"""Configurations of a training drawn at random: what a person may have chosen, and how it was stopped."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]

SCHEDULES = (
    "none",
    "unbroken",
    "LambdaLR",
    "MultiplicativeLR",
    "StepLR",
    "MultiStepLR",
    "ConstantLR",
    "LinearLR",
    "ExponentialLR",
    "SequentialLR",
    "PolynomialLR",
    "CosineAnnealingLR",
    "ChainedScheduler",
    "CyclicLR",
    "OneCycleLR",
    "CosineAnnealingWarmRestarts",
    "SWALR",
    "ReduceLROnPlateau",
    "ConstantLR ReduceLROnPlateau",
    "by hand",
)
"""By the name of PyTorch's class; the loop itself steps what reduces on a plateau, with a loss."""
OPTIMIZERS = (
    "AdamW",
    "AdamW fused",
    "AdamW amsgrad",
    "Adam",
    "NAdam",
    "RAdam",
    "Adamax",
    "Adagrad",
    "Adadelta",
    "RMSprop",
    "SGD",
    "SGD momentum",
    "ASGD",
    "Rprop",
    "two",
)
"""`two` are an AdamW and an SGD with momentum, each with parameters of its own."""
LONG = 110
"""Steps of a start after which the watch reports, where it has so many before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of the training, and how it ends."""

    until: int
    """Steps completed when it ends."""
    samples: int
    """Samples of the next step that are done by then, or a few more."""
    ending: Literal["killed", "stopped", "finished"]
    """Without a save, with a save at that place and some steps more, or with one after the last step."""
    saves_at: tuple[int, int] | None
    """Steps completed and samples done where the loop itself asks for a save."""
    micro: int
    threads: int
    workers: int | None
    """Of the data loader; None for a loop that reads the samples itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One training, and its starts one after another."""

    number: int
    precision: Precision
    optimizer: str
    schedule: str
    samples: int
    effective_batch: int
    save_every: int
    width: int
    dropout: float
    norm: Literal["layer", "batch", "none"]
    frozen: Literal["none", "parameter", "buffer", "rows"]
    is_tied: bool
    has_ema: bool
    has_probe: bool
    by_length: bool
    clip: float
    validates: bool
    starts: tuple[Start, ...]

    @property
    def is_one_arithmetic(self) -> bool:
        """Whether every start computes the same sums in the same order."""
        return len({(each.micro, each.threads) for each in self.starts}) == 1

    @property
    def recuts_more_than_sums(self) -> bool:
        """Whether the cut changes, and with it dropout masks or what is normalised together."""
        is_recut = len({each.micro for each in self.starts}) > 1
        return is_recut and (self.dropout > 0 or self.norm == "batch")


def draw(number: int) -> Configuration:
    """Return the configuration of a number, always the same one."""
    chosen = random.Random(number)  # noqa: S311  # a choice, not a secret
    precision: Precision = chosen.choice(("fp32", "fp32", "bf16", "fp16"))
    batch, wide = chosen.choice((4, 6, 8)), chosen.random() < 0.1
    return Configuration(
        number=number,
        precision=precision,
        # So that every kind occurs among the first few dozen already.
        optimizer=OPTIMIZERS[number % len(OPTIMIZERS)],
        schedule=SCHEDULES[number % len(SCHEDULES)],
        samples=chosen.choice((23, 40, 61)),
        effective_batch=batch,
        save_every=chosen.choice((0, 2, 3, 5)),
        width=192 if wide else chosen.choice((8, 16)),
        dropout=chosen.choice((0.0, 0.1, 0.5)),
        norm=chosen.choice(("layer", "batch", "none")),
        frozen=chosen.choice(("none", "parameter", "buffer", "rows")),
        is_tied=chosen.random() < 0.3,
        has_ema=chosen.random() < 0.4,
        has_probe=chosen.random() < 0.7,
        by_length=chosen.random() < 0.5,
        clip=chosen.choice((0.0, 1.0)),
        validates=chosen.random() < 0.3,
        starts=_starts(
            chosen, batch, changes_threads=wide, is_long=not wide and chosen.random() < 0.05
        ),
    )


def _starts(
    chosen: random.Random, batch: int, *, changes_threads: bool, is_long: bool
) -> tuple[Start, ...]:
    """Draw two to five starts; the first begins the run, each other one is a resume."""
    found = []
    until, cut = 0, chosen.choice((1, 2, 3, batch))
    recuts = chosen.random() < 0.2
    workers = None if is_long else chosen.choice((None, None, None, None, 0, 0, 1, 2))
    for _ in range(2 if is_long else chosen.choice((2, 3, 3, 4, 5))):
        until += LONG if is_long else chosen.randrange(1, 4 if changes_threads else 7)
        samples = chosen.choice((0, chosen.randrange(batch)))
        saves_at = (until - chosen.randrange(0, 2), chosen.randrange(batch))
        found.append(
            Start(
                until=until,
                samples=samples,
                ending=chosen.choice(("killed", "killed", "stopped", "finished")),
                saves_at=saves_at if chosen.random() < 0.3 else None,
                micro=chosen.choice((1, 2, 3, batch)) if recuts else cut,
                threads=chosen.choice((1, 2)) if changes_threads else 1,
                workers=workers,
            )
        )
    return (*found[:-1], replace(found[-1], ending="finished", samples=0))
