from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from unbroken_tts.model import head_loss
from unbroken_tts.model.frozen_rows import ExtendedLinear


def _head(frozen: int) -> ExtendedLinear:
    head = ExtendedLinear(6, 11, frozen)
    head.fill(torch.randn(11, 6), torch.randn(11))
    return head


@pytest.mark.parametrize("frozen", [0, 4, 11])
@pytest.mark.parametrize("chunk_bytes", [4 * 11 * 3, 1 << 20])
def test_the_sum_is_that_of_the_cross_entropies(
    frozen: int, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss, hits and all gradients are those of torch, however many positions go at a time."""
    monkeypatch.setitem(head_loss._CHUNK_BYTES, "cpu", chunk_bytes)
    torch.manual_seed(frozen)
    head, targets = _head(frozen), torch.randint(0, 11, (20,))
    hidden = torch.randn(20, 6, requires_grad=True)
    wanted = [hidden, *head.parameters()]
    loss, hits = head_loss.summed_losses(hidden, head, targets, with_hits=True)
    found = torch.autograd.grad(3 * loss, wanted)
    logits = head(hidden)
    expected = functional.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(expected, loss)
    assert (logits.argmax(dim=-1) == targets).sum() == hits
    for one, other in zip(torch.autograd.grad(3 * expected, wanted), found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_tie_counts_for_the_first_output() -> None:
    """Of equal logits only the first is the most likely one, as with argmax."""
    head = torch.nn.Linear(2, 3)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    _, hits = head_loss.summed_losses(
        torch.randn(3, 2), head, torch.tensor([0, 1, 2]), with_hits=True
    )
    assert hits.item() == 1


def test_autocast_gives_float32_gradients_near_the_exact_ones() -> None:
    """In bfloat16 the parameters' gradients are float32 and close."""
    torch.manual_seed(2)
    head, targets, hidden = _head(0), torch.randint(0, 11, (50,)), torch.randn(50, 6)
    exact = torch.autograd.grad(
        head_loss.summed_losses(hidden, head, targets, with_hits=False)[0], list(head.parameters())
    )
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = head_loss.summed_losses(hidden, head, targets, with_hits=False)
    assert torch.float32 == loss.dtype
    for one, other in zip(exact, torch.autograd.grad(loss, list(head.parameters())), strict=True):
        assert torch.float32 == other.dtype
        torch.testing.assert_close(one, other, atol=0.3, rtol=0.05)


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    """Without gradients the loss is the same and has none."""
    head, targets, hidden = _head(3), torch.randint(0, 11, (9,)), torch.randn(9, 6)
    with torch.no_grad():
        loss, _ = head_loss.summed_losses(hidden, head, targets, with_hits=True)
    assert not loss.requires_grad
    torch.testing.assert_close(
        functional.cross_entropy(head(hidden), targets, reduction="sum"), loss
    )


def test_the_weight_of_the_loss_is_not_rounded() -> None:
    """In bfloat16 the hidden states' gradient scales with the loss as exactly as a product can."""
    torch.manual_seed(2)
    head, targets = _head(0), torch.randint(0, 11, (5,))
    hidden = torch.randn(5, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = head_loss.summed_losses(hidden, head, targets, with_hits=False)
    (whole,) = torch.autograd.grad(loss, hidden, retain_graph=True)
    (weighted,) = torch.autograd.grad(loss * 1.0039, hidden)
    assert torch.equal((whole.double() * 1.0039).float().bfloat16().float(), weighted)


@pytest.mark.parametrize("outputs", [7, 64, 130])
def test_outputs_that_are_added_for_a_card_never_are(outputs: int) -> None:
    """With the outputs that a card's products want beside the real ones, nothing changes."""
    torch.manual_seed(3)
    weight, bias = torch.randn(outputs, 5), torch.randn(outputs)
    hidden, targets = torch.randn(9, 5), torch.randint(0, outputs, (9,))
    found = []
    for is_aligned in (False, True):
        given = [each.clone().requires_grad_() for each in (hidden, weight, bias)]
        wider = [head_loss._aligned(each) if is_aligned else each for each in given[1:]]
        loss, hits = head_loss._SummedLosses.apply(  # type: ignore[no-untyped-call]  # torch's own
            given[0], *wider, None, None, targets, True, True
        )
        loss.backward()
        found.append([loss.detach(), hits, *(each.grad for each in given)])
        assert wider[0] is not None
        assert wider[0].shape[0] % 64 == 0 or not is_aligned
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
