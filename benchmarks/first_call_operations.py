"""What `first_calls.py` calls: vector functions, and the operations a training step is made of.

Each operation takes a dtype and returns the tensors it computed, gradients among them; its inputs
are drawn by numpy, so that nothing of torch was called before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional

Operation = Callable[[torch.dtype], list[torch.Tensor]]

_draw = np.random.default_rng(0)
_VALUES: Final = _draw.uniform(0.05, 0.95, (128, 512)).astype("f")
_OTHER: Final = _draw.uniform(-1, 1, (512, 512)).astype("f")
_IDS: Final = _draw.integers(0, 100, (8, 64))


torch.optim.AdamW([torch.empty(1)])  # loads what optimisers load late, once for every child


def _values(dtype: torch.dtype) -> torch.Tensor:
    """Return (128, 512), numbers between 0.05 and 0.95."""
    return torch.from_numpy(_VALUES).to(dtype)


def _leaf(array: np.ndarray[Any, Any], dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(array).to(dtype, copy=True).requires_grad_()


def _vector_function(name: str, dtype: torch.dtype) -> list[torch.Tensor]:
    return [getattr(torch, name)(_values(dtype))]


def _logsumexp(dtype: torch.dtype) -> list[torch.Tensor]:
    return [_values(dtype).logsumexp(-1)]


def _matmul(dtype: torch.dtype) -> list[torch.Tensor]:
    a, b = _leaf(_VALUES, dtype), _leaf(_OTHER, dtype)
    product = a @ b
    product.sum().backward()
    return [product, _gradient(a), _gradient(b)]


def _attention(dtype: torch.dtype) -> list[torch.Tensor]:
    """Causal, (2, 4, 64, 64), forward and backward."""
    queries, keys, values = (
        _leaf(_VALUES[:, part : part + 256].reshape(2, 4, 64, 64), dtype) for part in (0, 128, 256)
    )
    out = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    out.sum().backward()
    return [out, *(_gradient(each) for each in (queries, keys, values))]


def _layer_norm(dtype: torch.dtype) -> list[torch.Tensor]:
    x, weight = _leaf(_VALUES, dtype), _leaf(_OTHER[0], dtype)
    out = functional.layer_norm(x, (512,), weight)
    out.square().sum().backward()
    return [out, _gradient(x), _gradient(weight)]


def _gelu(approximate: str, dtype: torch.dtype) -> list[torch.Tensor]:
    x = _leaf(_OTHER, dtype)
    out = functional.gelu(x, approximate=approximate)
    out.sum().backward()
    return [out, _gradient(x)]


def _dropout(dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [functional.dropout(_values(dtype), 0.1)]


def _embedding(dtype: torch.dtype) -> list[torch.Tensor]:
    """Ids that occur several times, so that their gradients are summed."""
    weight = _leaf(_OTHER[:100], dtype)
    out = functional.embedding(torch.from_numpy(_IDS), weight)
    (out * out).sum().backward()
    return [out, _gradient(weight)]


def _cross_entropy(dtype: torch.dtype) -> list[torch.Tensor]:
    logits = _leaf(_OTHER, dtype)
    loss = functional.cross_entropy(logits, torch.from_numpy(_IDS.reshape(-1)))
    loss.backward()
    return [loss.reshape(1), _gradient(logits)]


def _adamw(dtype: torch.dtype, **how: bool) -> list[torch.Tensor]:
    weight = _leaf(_OTHER, dtype)
    weight.grad = torch.from_numpy(_OTHER).to(dtype) * 0.1
    optimizer = torch.optim.AdamW([weight], lr=1e-3, **how)  # type: ignore[arg-type]  # flags of its own
    optimizer.step()
    optimizer.step()
    return [weight.detach()]


def _normal(dtype: torch.dtype) -> list[torch.Tensor]:
    return [torch.randn(128, 512, generator=torch.Generator().manual_seed(0)).to(dtype)]


def _gradient(leaf: torch.Tensor) -> torch.Tensor:
    assert leaf.grad is not None
    return leaf.grad


VECTOR_FUNCTIONS: Final = (
    "acos", "asin", "atan", "cos", "erf", "erfc", "erfinv", "exp", "expm1", "log", "log10",
    "log1p", "log2", "rsqrt", "sigmoid", "sin", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip

OPERATIONS: Final[dict[str, Operation]] = {
    **{name: partial(_vector_function, name) for name in VECTOR_FUNCTIONS},
    "logsumexp": _logsumexp,
    "softmax": lambda dtype: [_values(dtype).softmax(-1)],
    "log_softmax": lambda dtype: [_values(dtype).log_softmax(-1)],
    "pow": lambda dtype: [_values(dtype).pow(1.7)],
    "matmul": _matmul,
    "attention": _attention,
    "layer_norm": _layer_norm,
    "gelu": partial(_gelu, "none"),
    "gelu_tanh": partial(_gelu, "tanh"),
    "dropout": _dropout,
    "embedding": _embedding,
    "cross_entropy": _cross_entropy,
    "adamw": _adamw,
    "adamw_foreach": partial(_adamw, foreach=True),
    "adamw_fused": partial(_adamw, fused=True),
    "normal": _normal,
}
"""Every operation by its name in the table."""
