"""Initial values of tensors, derived from a seed and the tensor's name.

Each tensor has its own generator, so its values never depend on which others were made.
Distributions as in the original: embeddings and latents N(0, 0.02); GPT-2 blocks as in Radford et
al. 2019, section 2.3 (residual projections scaled by 1/sqrt(2 * layers)); B of LoRA adapters zero (Hu
et al. 2021, section 4.1); other layers, and A of the adapters, the defaults of torch,
U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unbroken_tts.model.gpt_file import Shape

_STD = 0.02


def initial_values(
    shapes: Mapping[str, Shape], *, layers: int, seed: int
) -> dict[str, torch.Tensor]:
    """Return fresh float32 tensors, the same for the same seed, names and shapes.

    Args:
        shapes: Name -> shape, in the order of the result; a bias needs the shape of its weight.
        layers: Transformer blocks of the model, for the scale of the residual projections.
        seed: Any int.
    """
    return {name: _value(name, shapes, layers, seed) for name in shapes}


def _value(name: str, shapes: Mapping[str, Shape], layers: int, seed: int) -> torch.Tensor:
    shape = shapes[name]
    if name.endswith(".pe"):
        return sinusoids(shape[1], shape[2])
    if _is_norm(name):
        return torch.zeros(shape) if name.endswith(".bias") else torch.ones(shape)
    return _draw(name, shapes, layers)(torch.empty(shape), _generator(name, seed))


def _draw(
    name: str, shapes: Mapping[str, Shape], layers: int
) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    """Return the distribution of a tensor of this name."""
    if ".lora_B." in name:
        return lambda tensor, _: tensor.zero_()
    if name.startswith("gpt.h.") and ".lora_A." not in name:
        if name.endswith(".bias"):
            return lambda tensor, _: tensor.zero_()
        scale = 1 / math.sqrt(2 * layers) if name.endswith("c_proj.weight") else 1.0
        return lambda tensor, source: tensor.normal_(0.0, _STD * scale, generator=source)
    if "embedding" in name or name.endswith("latents") or name.startswith("speed_emb"):
        return lambda tensor, source: tensor.normal_(0.0, _STD, generator=source)
    if "pos_bias" in name:
        bound = math.sqrt(6 / sum(shapes[name]))
    else:
        weight = shapes[name.removesuffix("bias") + "weight"] if name.endswith("bias") else None
        fan_in = math.prod((weight or shapes[name])[1:])
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return lambda tensor, source: tensor.uniform_(-bound, bound, generator=source)


def _is_norm(name: str) -> bool:
    return any("norm" in part or part.startswith("ln_") for part in name.split("."))


def _generator(name: str, seed: int) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def sinusoids(rows: int, width: int) -> torch.Tensor:
    """Return the sin/cos position table of Vaswani et al. 2017, section 3.5: (1, rows, width)."""
    position = torch.arange(rows, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(math.log(10_000.0) / width))
    table = torch.zeros(rows, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate[: width // 2])
    return table.unsqueeze(0)
