"""The rows of a new vocabulary: copied bit for bit, or means."""

from __future__ import annotations

import pytest
import torch

from unbroken_tts.model.base import BaseWeights
from unbroken_tts.model.gpt_file import TEXT_TENSORS
from unbroken_tts.model.new_rows import RowPlan, respelt


@pytest.fixture
def base() -> BaseWeights:
    """Four pieces and the spare row."""
    draw = torch.Generator().manual_seed(1)
    shapes = ((5, 3), (5, 3), (5,))
    tables = {
        name: torch.randn(shape, generator=draw)
        for name, shape in zip(TEXT_TENSORS, shapes, strict=True)
    }
    other = torch.ones(2)
    return BaseWeights(
        origin="gpt.pth",
        trained={**tables, "gpt.ln_f.weight": other},
        untrained_encoders={},
        vocabulary=4,
    )


def test_rows_are_copied_or_averaged(base: BaseWeights) -> None:
    """In any order; what has no source is the mean of all pieces; the spare row, too."""
    found = respelt(base, RowPlan(sources=[0, 3, (1, 1, 2), (), 2], frozen=1))
    assert 5 == found.vocabulary
    for name in TEXT_TENSORS:
        old, new = base.trained[name], found.trained[name]
        assert new.dtype == torch.float32
        assert torch.equal(old[[0, 3]], new[:2])
        assert torch.equal(old[2], new[4])
        assert torch.equal(old[[1, 1, 2]].double().mean(0).float(), new[2])
        for row in (3, 5):
            assert torch.equal(old[:4].double().mean(0).float(), new[row])
    assert found.trained["gpt.ln_f.weight"] is base.trained["gpt.ln_f.weight"]


def test_the_same_number_of_pieces_keeps_the_spare_row(base: BaseWeights) -> None:
    """So the base's own vocabulary gives the base's tables."""
    found = respelt(base, RowPlan(sources=[0, 1, 2, 3], frozen=0))
    for name in TEXT_TENSORS:
        assert torch.equal(base.trained[name], found.trained[name])


def test_fewer_pieces_than_the_base_has(base: BaseWeights) -> None:
    """A tokenizer of its own may be smaller."""
    assert 2 == respelt(base, RowPlan(sources=[3, 1], frozen=0)).vocabulary
