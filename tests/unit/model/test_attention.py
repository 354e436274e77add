from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from unbroken_tts.model.attention import attend
from unbroken_tts.model.dropout import KeepMask

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _inputs(rows: int, dtype: torch.dtype = torch.float64) -> Inputs:
    """Return query, key and value as an attention layer hands them over: views of one tensor."""
    torch.manual_seed(rows)
    joined = torch.randn(2, rows, 3 * 3 * 4, dtype=dtype)
    parts = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in joined.split(12, dim=2))
    query, key, value = (part.detach().requires_grad_() for part in parts)
    return query, key, value


def _expected(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout: float
) -> torch.Tensor:
    """Attend by the book, with the masks that a block of queries after another draws."""
    rows, mask = query.shape[2], KeepMask(dropout)
    keep = torch.zeros(2, 3, rows, rows, dtype=query.dtype)
    for sample in range(2):
        for begin in range(0, rows, 128):
            end = min(begin + 128, rows)
            keep[sample, :, begin:end, :end] = mask.draw((3, end - begin, end)).to(query.dtype)
    scores = query @ key.mT / 2
    later = torch.ones(rows, rows, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(later, float("-inf")).softmax(dim=-1)
    return (weights * keep * mask.scale) @ value


@pytest.mark.parametrize("rows", [1, 5, 128, 129, 300])
def test_blocked_attention_is_attention(rows: int) -> None:
    """Values and gradients are those of the formula with the same masks."""
    inputs = _inputs(rows)
    torch.manual_seed(1)
    found, weights = attend(torch.nn.Module(), *inputs, None, dropout=0.2)
    direction = torch.randn_like(found)
    gradients = torch.autograd.grad(found, inputs, direction)
    torch.manual_seed(1)
    expected = _expected(*inputs, 0.2).transpose(1, 2)
    assert weights is None
    torch.testing.assert_close(expected, found)
    for one, other in zip(torch.autograd.grad(expected, inputs, direction), gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_without_dropping_it_is_that_of_torch() -> None:
    """With a probability that rounds to 0 the blocked way agrees with torch's own attention."""
    query, key, value = _inputs(200, torch.float32)
    found, _ = attend(torch.nn.Module(), query, key, value, None, dropout=1e-9)
    expected = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(expected.transpose(1, 2), found)


def test_bfloat16_stays_near_float32() -> None:
    """Under autocast the same masks give the same values, to the precision of bfloat16."""
    query, key, value = _inputs(150, torch.float32)
    torch.manual_seed(1)
    expected, _ = attend(torch.nn.Module(), query, key, value, None, dropout=0.1)
    torch.manual_seed(1)
    halves = query.bfloat16(), key.bfloat16(), value.bfloat16()
    found, _ = attend(torch.nn.Module(), *halves, None, dropout=0.1)
    assert torch.bfloat16 == found.dtype
    torch.testing.assert_close(expected, found.float(), atol=0.05, rtol=0.05)
