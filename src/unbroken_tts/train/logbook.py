"""Log lines and curves of a training, continuous over a resume.

Losses are averaged over an interval. If an earlier start trained some steps of the interval, their
losses are read from the journal, so a resume within an interval changes no figure.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
import torch

from unbroken import RunDirectory, StepResult
from unbroken_tts.evaluate import Scores
from unbroken_tts.train.console import Console
from unbroken_tts.train.curves import Curves
from unbroken_tts.train.languages import LanguageScore
from unbroken_tts.train.validation import Validated

NAMES = ("text_loss", "mel_loss", "mel_top1")
PACE_STEPS = 50
"""Number of recent steps from which the time left is estimated."""


class Logbook:
    """Prints and draws the progress of a training.

    Args:
        console: Receives the lines.
        directory: The run's directory, with its logs and its journal.
        name: The name of this run's curves; `INDEXTTS_RUN_NAME` overrides it.
        step: Steps completed so far; points that an earlier start drew after it are hidden.
        until: Steps of the whole run.
        interval: Steps between lines; 0 for none.
    """

    def __init__(
        self,
        console: Console,
        directory: RunDirectory,
        name: str,
        *,
        step: int,
        until: int,
        interval: int,
    ) -> None:
        self.console = console
        self.until = until
        self.interval = interval
        name = os.environ.get("INDEXTTS_RUN_NAME") or name
        self.curves = Curves(console, directory.logs / name, step)
        self._losses = _begun_interval(directory, step, interval)
        self.newest: dict[str, float] = {}
        """Losses of the last step of this start; empty before the first."""
        self._tokens = 0
        self._since = time.monotonic()
        self._pace: deque[float] = deque(maxlen=PACE_STEPS)
        self._last = time.monotonic()

    def step(self, result: StepResult, *, tokens: int, epoch: float) -> None:
        """Add a completed step; print and draw at the end of an interval."""
        now = time.monotonic()
        self._pace.append(now - self._last)
        self._last = now
        self._tokens += tokens
        self.newest = {name: result.losses[name] for name in NAMES}
        self._losses.append(self.newest)
        if self.interval and result.step % self.interval == 0:
            self._report(result, epoch, now)

    def _report(self, result: StepResult, epoch: float, now: float) -> None:
        mean = {name: mean_of_finite([each[name] for each in self._losses]) for name in NAMES}
        speed = self._tokens / max(now - self._since, 1e-9)
        left = (self.until - result.step) * sum(self._pace) / len(self._pace)
        self.console.line(
            f"[Train] step={result.step} text_loss={mean['text_loss']:.4f} "
            f"mel_loss={mean['mel_loss']:.4f} mel_top1={mean['mel_top1']:.4f} "
            f"lr={result.rate:.3e} grad_norm={result.grad_norm:.4f} epoch={epoch:.3f} "
            f"tokens/s={speed:.0f} eta={duration(left)}"
        )
        drawn = {
            **{f"train/{name}": each for name, each in mean.items()},
            "train/lr": result.rate,
            "train/grad_norm": result.grad_norm,
            "train/tokens_per_second": speed,
            "train/memory_gib": memory_gib(),
        }
        self.curves.draw(drawn, result.step)
        self._losses = []
        self._tokens = 0
        self._since = now

    def validated(self, step: int, found: Validated, loss: float, *, is_best: bool) -> None:
        """Print and draw the result of a validation."""
        scores, gap = found.scores, found.text_gap
        self.console.line(
            f"[Val] step={step} {_shown(scores)} val_loss={loss:.4f}"
            f"{'' if gap is None else f' text_gap={gap:.4f}'}{' (best so far)' if is_best else ''}"
        )
        drawn = {f"val/{name}": getattr(scores, name) for name in NAMES}
        drawn |= {"val/loss": loss} | ({} if gap is None else {"val/text_gap": gap})
        for each in found.languages:
            self.console.line(
                f"[Val] step={step} language={each.language} {_shown(each)} val_loss={each.loss:.4f}"
            )
            drawn |= {
                f"val/{each.language}/{name}": getattr(each, name) for name in (*NAMES, "loss")
            }
        self.curves.draw(drawn, step)
        # Time spent outside the steps counts neither towards the speed nor the time left.
        now = time.monotonic()
        self._since += now - self._last
        self._last = now

    def spoken(self, step: int, number: int, wave: torch.Tensor, rate: int) -> None:
        """Write a sample of speech: (S,) float32 at `rate` samples per second."""
        self.curves.play(f"val/sample_{number}", wave, step, rate)

    def resumed(self, step: int, lines: Sequence[str]) -> None:
        """Write the report of a resume to TensorBoard."""
        if lines:
            self.curves.write("resume/report", lines, step)

    def close(self) -> None:
        """Flush and close the curves."""
        self.curves.close()


def _shown(scores: Scores | LanguageScore) -> str:
    return " ".join(f"{name}={getattr(scores, name):.4f}" for name in NAMES)


def _begun_interval(directory: RunDirectory, step: int, interval: int) -> list[dict[str, float]]:
    if not interval or not step % interval:
        return []
    lines = directory.steps()
    begun = range(step - step % interval + 1, step + 1)
    found = [_losses_of(lines[number]) for number in begun if number in lines]
    return [each for each in found if each is not None]


def _losses_of(line: Mapping[str, Any]) -> dict[str, float] | None:
    """Return the losses of a journal line, or None if it is damaged."""
    try:
        return {name: float(line[name]) for name in NAMES}
    except (KeyError, TypeError, ValueError):
        return None


def mean_of_finite(values: Sequence[float]) -> float:
    """Return the mean of the finite values; NaN if there is none."""
    finite = [each for each in values if math.isfinite(each)]
    return sum(finite) / len(finite) if finite else math.nan


def memory_gib() -> float:
    """Return the peak memory so far in GiB: of the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1024**3
    return float(psutil.Process().memory_info().rss) / 1024**3


def duration(seconds: float) -> str:
    """Return a duration as `1d02:03:04` or `02:03:04`."""
    whole = round(max(seconds, 0.0))
    days, rest = divmod(whole, 86_400)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}d{text}" if days else text
