from __future__ import annotations

import pytest
import torch

from unbroken_tts.model.dropout import Dropout, KeepMask


def test_dropout_drops_with_its_probability_and_keeps_the_mean() -> None:
    """A tenth of a million elements becomes 0, the others grow by 1 / 0.9; within 5 sigma."""
    torch.manual_seed(3)
    out = Dropout(0.1)(torch.ones(1_000_000))
    dropped = (out == 0).float().mean()
    assert dropped.item() == pytest.approx(0.1, abs=5 * (0.09 / 1e6) ** 0.5)
    assert (out[out != 0] - 1 / 0.9).abs().max().item() < 1e-4


def test_neighbours_are_dropped_independently() -> None:
    """Elements that share a 64-bit number are dropped together as often as chance says."""
    torch.manual_seed(4)
    dropped = (KeepMask(0.5).draw((250_000, 4)) == 0).double()
    covariance = torch.cov(dropped.T)
    expected = torch.eye(4, dtype=torch.float64) * 0.25
    torch.testing.assert_close(covariance, expected, atol=0.003, rtol=0)


def test_the_masks_follow_from_the_global_generator() -> None:
    """The same seed repeats them to the bit, the next draw differs."""
    drop, ones = Dropout(0.3), torch.ones(7, 5)
    torch.manual_seed(5)
    first, second = drop(ones), drop(ones)
    torch.manual_seed(5)
    assert torch.equal(first, drop(ones))
    assert not torch.equal(first, second)


def test_the_gradient_goes_where_the_value_went() -> None:
    """A dropped element has no gradient, a kept one that of its scale."""
    values = torch.randn(50, 3, requires_grad=True)
    out = Dropout(0.4)(values)
    out.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(out.detach(), values.detach() * values.grad)


def test_evaluation_drops_nothing() -> None:
    """In evaluation mode, and at probability 0, the values pass."""
    values = torch.randn(5)
    assert torch.equal(values, Dropout(0.4).eval()(values))
    assert torch.equal(values, Dropout(0.0)(values))


@pytest.mark.parametrize(("p", "kept"), [(0.0, 1), (1.0, 0)])
def test_the_limits_keep_all_or_nothing(p: float, kept: int) -> None:
    """Probability 0 keeps every element and 1 none."""
    assert torch.equal(torch.full((999,), kept), KeepMask(p).draw((999,)).long())
