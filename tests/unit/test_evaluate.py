from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.tiny_model import rows_of, tiny_batch, tiny_model
from unbroken.errors import DataInvalid
from unbroken_tts.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unbroken_tts.data.batch import Batch

LENGTHS = [(5, 9), (3, 14), (8, 4), (1, 1), (12, 30), (2, 7)]


def _everything_random() -> tuple[object, ...]:
    numpy_state = np.random.get_state()  # noqa: NPY002  the global one is the subject
    return (torch.get_rng_state().tolist(), str(numpy_state), random.getstate())


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6))
def test_scores_do_not_depend_on_the_batch_size(size: int) -> None:
    """Token-weighted means are the same for every batch size, to rounding."""
    model, whole = tiny_model(), tiny_batch(LENGTHS)
    cuts = [list(range(at, min(at + size, 6))) for at in range(0, 6, size)]
    one, many = evaluate(model, [whole]), evaluate(model, [rows_of(whole, cut) for cut in cuts])
    assert one.text_loss == pytest.approx(many.text_loss, rel=1e-6)
    assert one.mel_loss == pytest.approx(many.mel_loss, rel=1e-6)
    assert (one.mel_top1, one.mel_tokens, one.text_tokens) == (
        many.mel_top1,
        many.mel_tokens,
        many.text_tokens,
    )


def test_means_are_weighted_by_tokens() -> None:
    """The mean over the set is the mean of its tokens, not of its samples."""
    scores = evaluate(tiny_model(), [tiny_batch(LENGTHS)])
    total = sum(sample.mel_loss * sample.mel_tokens for sample in scores.per_sample)
    assert [mel + 1 for _, mel in LENGTHS] == [sample.mel_tokens for sample in scores.per_sample]
    assert total / scores.mel_tokens == pytest.approx(scores.mel_loss)
    assert [f"sample {index}" for index in range(6)] == [s.id for s in scores.per_sample]


def _greedy_batches(failure: type[BaseException] | None) -> Iterator[Batch]:
    """Draw from every generator, as a loader or its samples may, and perhaps break off."""
    torch.rand(3)
    np.random.rand(3)  # noqa: NPY002  the global one is the subject
    random.random()  # noqa: S311  not for secrets
    yield tiny_batch()
    if failure is not None:
        raise failure


@pytest.mark.parametrize("failure", [None, RuntimeError, KeyboardInterrupt, MemoryError])
def test_nothing_is_disturbed(failure: type[BaseException] | None) -> None:
    """Modes of all submodules and all generators are put back, whatever happens inside."""
    model = tiny_model().train()
    model.gpt.h[1].eval()
    modes = [module.training for module in model.modules()]
    before = _everything_random()
    if failure is None:
        evaluate(model, _greedy_batches(None))
    else:
        with pytest.raises(failure):
            evaluate(model, _greedy_batches(failure))
    assert modes == [module.training for module in model.modules()]
    assert before == _everything_random()


def test_nothing_to_evaluate_is_an_error() -> None:
    """A mean over no samples has no value."""
    with pytest.raises(DataInvalid, match="no samples"):
        evaluate(tiny_model(), [])


def test_progress_counts_samples() -> None:
    """The caller learns how many samples are done after each batch."""
    seen: list[int] = []
    evaluate(tiny_model(), [tiny_batch(), tiny_batch()], progress=seen.append)
    assert [3, 6] == seen
