"""Event files and checkpoint names as the earlier trainer leaves them in its output directory."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOTAL = 20_000
WARMUP = 1000


def text_loss(step: int) -> float:
    """Return the level of a healthy text loss: about 2.1 at step 3,500."""
    return 1.6 + 2.4 * math.exp(-step / 2200)


def mel_loss(step: int) -> float:
    """Return the level of a healthy mel loss."""
    return 3.2 + 2.0 * math.exp(-step / 4000)


def rate(step: int) -> float:
    """Return the rate that is drawn at a step: the one of the next update, as it logs it."""
    if step < WARMUP:
        return 2e-5 * step / WARMUP
    return 2e-5 * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (TOTAL - WARMUP)))


def unchanged(step: int) -> float:
    """Return 1 for every step."""
    del step
    return 1.0


class EarlierTrainer:
    """Draws the curves of one output directory, start after start.

    Args:
        output: The directory.
        seed: Of the noise.
        interval: Steps between points.
        noise: Standard deviation of a point, relative: it draws the last micro-batch of a step only.
        same_directory: Whether `INDEXTTS_RUN_NAME` is set, so that all starts draw into one.
    """

    def __init__(
        self,
        output: Path,
        *,
        seed: int = 0,
        interval: int = 50,
        noise: float = 0.06,
        same_directory: bool = False,
    ) -> None:
        self.output = output
        self.seed = seed
        self.interval = interval
        self.noise = noise
        self.same_directory = same_directory
        self.starts = 0

    def start(
        self,
        first: int,
        last: int,
        *,
        losses: Callable[[int], float] = unchanged,
        rates: Callable[[int], float] = rate,
        same_samples: bool = False,
        level_of: Callable[[int], int] = int,
        purge: bool = False,
        offset: int = 0,
    ) -> Path:
        """Train steps `first` to `last` in a process of its own; return its event file.

        Args:
            first: The first step.
            last: The last one.
            losses: What both losses are multiplied by, by step.
            rates: The rate drawn at a step.
            level_of: The step whose losses are those of a step.
            same_samples: Whether a repeated step is trained on the samples it was trained on before.
            purge: Whether the writer hides the points of a given-up future.
            offset: Added to the steps that are written.
        """
        from torch.utils.tensorboard import SummaryWriter

        self.starts += 1
        name = "amharic" if self.same_directory else f"run_20250{self.starts}01_101500"
        place = self.output / "logs" / name
        known = set(place.glob("*tfevents*"))
        options = {"purge_step": first + offset} if purge else {}
        writer: Any = SummaryWriter(str(place), filename_suffix=f".{self.starts}", **options)
        began = 1_750_000_000 + 100_000 * self.starts
        for step in range(first, last + 1):
            if step % self.interval:
                continue
            key = step if same_samples else step + 1_000_003 * self.starts
            own = random.Random(key * 7919 + self.seed)  # noqa: S311  # noise, no secret
            values = {
                "text_loss": text_loss(level_of(step))
                * losses(step)
                * (1 + own.gauss(0, self.noise)),
                "mel_loss": mel_loss(level_of(step))
                * losses(step)
                * (1 + own.gauss(0, self.noise)),
                "mel_top1": min(1.0, 0.2 + step / 50_000 + own.gauss(0, 0.02)),
                "lr": rates(step),
            }
            for tag, value in values.items():
                writer.add_scalar(f"train/{tag}", value, step + offset, walltime=began + step)
            if step % (10 * self.interval) == 0:
                validated = {"text_loss": text_loss(step), "mel_loss": mel_loss(step)}
                for tag, value in validated.items():
                    writer.add_scalar(f"val/{tag}", value, step + offset, walltime=began + step)
        writer.close()
        (found,) = set(place.glob("*tfevents*")) - known
        return found

    def save(self, *steps: int) -> None:
        """Leave the names of its checkpoints; what is in them is nobody's business."""
        for each in steps:
            (self.output / f"model_step{each}.pth").write_bytes(os.urandom(64))
        (self.output / "latest.pth").write_bytes(os.urandom(64))
