"""Chooses the next code from its logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unbroken import SettingsInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling settings; the default is greedy."""

    greedy: bool = True
    """Take the most likely code; of the fields below, only the penalty then has an effect."""
    seed: int = 0
    """Seed of every utterance's own generator."""
    temperature: float = 1.0
    """Divides the logits; above 0, smaller is more deterministic."""
    top_k: int = 0
    """Keep the k most likely codes; 0 keeps all."""
    top_p: float = 1.0
    """Keep the most likely codes that together have this probability, in (0, 1]."""
    repetition_penalty: float = 1.0
    """Makes earlier codes less likely (Keskar et al. 2019, section 4.1); 1 is off."""

    def __post_init__(self) -> None:
        faults = {
            f"temperature {self.temperature}, must be above 0": not self.temperature > 0,
            f"top_k {self.top_k}, must be 0 or more": self.top_k < 0,
            f"top_p {self.top_p}, must be above 0 and at most 1": not 0 < self.top_p <= 1,
            f"repetition_penalty {self.repetition_penalty}, must be above 0": not (
                self.repetition_penalty > 0
            ),
        }
        found = [fault for fault, holds in faults.items() if holds]
        if found:
            raise SettingsInvalid(
                f"The sampling settings have {'; '.join(found)}.",
                "With them no code can be chosen.",
                "Correct them, or omit them for the defaults.",
            )


def choose(
    logits: torch.Tensor, said: Sequence[int], sampling: Sampling, draw: torch.Generator
) -> int:
    """Return the next code.

    Args:
        logits: (K,) on the CPU; -inf where forbidden.
        said: The codes so far.
        sampling: The sampling settings.
        draw: The utterance's generator; one number is drawn per code unless greedy.
    """
    scores = logits.double()
    if sampling.repetition_penalty != 1.0 and said:
        seen = torch.tensor(sorted(set(said)))
        penalised = scores[seen]
        scores[seen] = torch.where(
            penalised > 0,
            penalised / sampling.repetition_penalty,
            penalised * sampling.repetition_penalty,
        )
    if sampling.greedy:
        return int(scores.argmax())
    # Sort with the code as tie-breaker, and invert the distribution here: the same random number
    # gives the same code in every release of torch.
    ordered, codes = torch.sort(scores / sampling.temperature, descending=True, stable=True)
    if sampling.top_k:
        ordered = ordered[: sampling.top_k]
    chances = torch.softmax(ordered, dim=0)
    before = torch.cumsum(chances, dim=0) - chances
    kept = chances[before < sampling.top_p]
    target = torch.rand((), generator=draw, dtype=torch.float64) * kept.sum()
    index = int(torch.searchsorted(torch.cumsum(kept, dim=0), target, right=True))
    return int(codes[min(index, len(kept) - 1)])
