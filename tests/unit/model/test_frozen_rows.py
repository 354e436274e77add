from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from unbroken_tts.model.frozen_rows import ExtendedEmbedding, ExtendedLinear

ROWS, WIDTH = 9, 4
FROZEN = st.integers(0, ROWS)


def _table() -> torch.Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(3))


@given(FROZEN, st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=12))
def test_an_embedding_looks_up_the_joined_table(frozen: int, ids: list[int]) -> None:
    """Wherever the border lies, each id finds its row, bit for bit."""
    embedding = ExtendedEmbedding(ROWS, WIDTH, frozen)
    embedding.fill(_table())
    assert torch.equal(_table()[ids], embedding(torch.tensor(ids)))
    assert torch.equal(_table(), embedding.joined())


@given(FROZEN)
def test_a_head_computes_all_rows(frozen: int) -> None:
    """Wherever the border lies, the logits are those of the joined layer."""
    head = ExtendedLinear(WIDTH, ROWS, frozen)
    bias = torch.arange(ROWS, dtype=torch.float32)
    head.fill(_table(), bias)
    hidden = torch.ones(2, 3, WIDTH)
    torch.testing.assert_close(functional.linear(hidden, _table(), bias), head(hidden))
    assert torch.equal(bias, head.joined()[1])


@given(FROZEN, st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=12))
def test_trainable_rows_get_the_gradient_of_a_plain_embedding(frozen: int, ids: list[int]) -> None:
    """Freezing rows changes nothing for the others."""
    plain = _table().requires_grad_()
    functional.embedding(torch.tensor(ids), plain).square().sum().backward()
    embedding = ExtendedEmbedding(ROWS, WIDTH, frozen)
    embedding.fill(_table())
    loss = embedding(torch.tensor(ids)).square().sum()
    if not loss.requires_grad:
        assert frozen == ROWS
        return
    loss.backward()
    assert plain.grad is not None
    grad = embedding.extension.grad
    assert grad is not None or frozen == ROWS
    if grad is not None:
        assert torch.equal(plain.grad[frozen:], grad)


def test_frozen_rows_are_no_parameters() -> None:
    """What is no parameter has no gradient, no optimiser state and no decay."""
    modules = torch.nn.ModuleList([ExtendedEmbedding(9, 4, 5), ExtendedLinear(4, 9, 5)])
    assert [(4, 4), (4, 4), (4,)] == [tuple(p.shape) for p in modules.parameters()]
    assert {"0.base", "1.base_weight", "1.base_bias"} == {n for n, _ in modules.named_buffers()}


def test_without_frozen_rows_there_is_nothing_but_a_parameter() -> None:
    """frozen=0 is the plain layer: no empty buffers in the state either."""
    modules = torch.nn.ModuleList([ExtendedEmbedding(9, 4), ExtendedLinear(4, 9)])
    assert {"0.extension", "1.extension_weight", "1.extension_bias"} == set(modules.state_dict())


@pytest.mark.parametrize("frozen", [-1, 10])
def test_an_impossible_border_is_refused(frozen: int) -> None:
    """Negative rows, or more than there are, can't be frozen."""
    with pytest.raises(ValueError, match="can't be frozen"):
        ExtendedEmbedding(9, 4, frozen)
