"""The state that is saved and restored: GPT-2 small and AdamW's moments, 592 tensors, 1.49 GB.

The model is never run; only its tensors count. `gigabytes` changes its width and nothing else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import unbroken

if TYPE_CHECKING:
    from pathlib import Path

VOCABULARY, PLACES, LAYERS = 50_257, 1_024, 12
COPIES = 3
"""A parameter and its two moments."""


class Block(nn.Module):
    """The parameters of one layer, fused and named as in GPT-2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_out = nn.Linear(4 * width, width)


class Parameters(nn.Module):
    """All parameters of the model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, width)
        self.wpe = nn.Embedding(PLACES, width)
        self.h = nn.ModuleList(Block(width) for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(width)


class BenchmarkState:
    """A model and its optimiser after one step, as live objects.

    Args:
        gigabytes: About the size of all tensors, in 10**9 bytes.
    """

    def __init__(self, gigabytes: float) -> None:
        torch.manual_seed(1)
        self.model = Parameters(_width(gigabytes))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        for parameter in self.model.parameters():
            parameter.grad = torch.randn_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The live tensors under flat names, for formats that know no other structure."""
        found = {f"model.{name}": each for name, each in self.model.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{index}.{name}": each for name, each in moments.items()}
        return found

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(each.nbytes for each in self.tensors.values())

    def documents(self) -> dict[str, Any]:
        """Return what a plain `torch.save` is given."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def take(self, documents: dict[str, Any]) -> None:
        """Put what a plain `torch.load` returned into the live objects."""
        self.model.load_state_dict(documents["model"])
        self.optimizer.load_state_dict(documents["optimizer"])

    def take_flat(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put tensors under flat names into the live objects."""
        moments: dict[int, dict[str, torch.Tensor]] = {}
        weights = {}
        for name, each in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "model":
                weights[rest] = each
            else:
                index, moment = rest.split(".", 1)
                moments.setdefault(int(index), {})[moment] = each
        groups = self.optimizer.state_dict()["param_groups"]
        self.take({"model": weights, "optimizer": {"state": moments, "param_groups": groups}})

    def spoil(self) -> None:
        """Change the state, so that a restore which does nothing is found out."""
        with torch.no_grad():
            for each in self.tensors.values():
                each.reshape(-1)[:1].add_(1)

    def run(self, directory: Path) -> unbroken.Run:
        """Return a run of these objects; its steps have one sample each."""
        order = unbroken.StepBatches(["sample"], [1], effective_batch=1, seed=1)
        return unbroken.Run(
            directory, order=order, model=self.model, optimizer=self.optimizer, save_every=0
        )


def _width(gigabytes: float) -> int:
    """Return the width with which the state has about this size: 12 L w^2 + (V + P) w numbers."""
    numbers = gigabytes * 1e9 / 4 / COPIES
    square, linear = 12 * LAYERS, VOCABULARY + PLACES
    width = (math.sqrt(linear**2 + 4 * square * numbers) - linear) / (2 * square)
    return max(8, round(width / 8) * 8)
