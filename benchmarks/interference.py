"""How much a small training is slowed down while a large state is written in the background."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from save_ways import Ours, Overlapped, TorchSave
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from checkpoint_state import BenchmarkState

LAYERS, WIDTH, HEADS, VOCABULARY = 6, 256, 4, 1_024
BATCH, LENGTH = 4, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Some steps of the training."""

    steps: list[float]
    """Seconds of each step, without what a save held the thread."""
    stalls: float
    """Seconds that the calls of saves took."""
    held: float
    """Seconds that saves held the training, in their calls and at a fence within the steps."""
    saves: int
    """Saves that were begun and completed while it trained."""


class Background(Protocol):
    """A save that goes on while the training does."""

    def save(self) -> None:
        """Begin one."""
        ...

    def is_done(self) -> bool:
        """Say whether it is complete."""
        ...

    def held(self) -> float:
        """Return the seconds that the last one held the training."""
        ...


class Nothing:
    """No save at all."""

    def save(self) -> None:
        """Do nothing."""

    def is_done(self) -> bool:
        """It always is."""
        return True

    def held(self) -> float:
        """Not at all."""
        return 0.0


class TorchSaveThread:
    """A plain `torch.save` of the live state in a thread: no snapshot, no fsync, no check."""

    def __init__(self, state: BenchmarkState, directory: Path) -> None:
        self._way = TorchSave(state, directory)
        self._thread = threading.Thread()

    def save(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._way.save)
        self._thread.start()

    def held(self) -> float:
        """Only to start the thread: the state is not even copied."""
        return 0.0

    def is_done(self) -> bool:
        """Say whether the thread has ended."""
        return not self._thread.is_alive()


class SmallTraining:
    """6 layers, 256 wide, 4 sequences of 256; all steps are alike."""

    def __init__(self) -> None:
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.model = nn.ModuleDict(
            {
                "embedding": nn.Embedding(VOCABULARY, WIDTH),
                "layers": nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False),
                "head": nn.Linear(WIDTH, VOCABULARY),
            }
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.tokens = torch.randint(VOCABULARY, (BATCH, LENGTH + 1))
        self.mask = nn.Transformer.generate_square_subsequent_mask(LENGTH)

    def step(self) -> float:
        """Train one step; return its seconds."""
        began = time.perf_counter()
        hidden = self.model["embedding"](self.tokens[:, :-1])
        hidden = self.model["layers"](hidden, mask=self.mask, is_causal=True)
        logits = self.model["head"](hidden)
        loss = functional.cross_entropy(logits.transpose(1, 2), self.tokens[:, 1:])
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - began

    def segment(self, background: Background, steps: int) -> Segment:
        """Train at least so many steps, saves following each other, until the last is complete."""
        taken: list[float] = []
        stalls, held, saves = self._begin(background), 0.0, 1
        while True:
            taken.append(self.step())
            if not background.is_done():
                continue
            held += background.held()
            if len(taken) >= steps:
                return Segment(steps=taken, stalls=stalls, held=held, saves=saves)
            stalls += self._begin(background)
            saves += 1

    @staticmethod
    def _begin(background: Background) -> float:
        began = time.perf_counter()
        background.save()
        return time.perf_counter() - began


BACKGROUNDS: dict[str, type[Ours | TorchSaveThread]] = {
    Ours.name: Ours,
    Overlapped.name: Overlapped,
    "torch.save thread": TorchSaveThread,
}
