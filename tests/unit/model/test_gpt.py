from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.tiny_model import VOCABULARY, rows_of, tiny_batch, tiny_config, tiny_model
from unbroken.errors import DataInvalid
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.gpt_file import trained_shapes
from unbroken_tts.model.layout import lay_out
from unbroken_tts.model.losses import TokenTotals, legacy_loss, weighted_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unbroken_tts.data.batch import Batch

_lengths = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 41)), min_size=2, max_size=5)


def _gradients(
    model: VoiceGpt, batches: Sequence[Batch], totals: TokenTotals
) -> list[torch.Tensor]:
    model.zero_grad()
    for batch in batches:
        weighted_loss(model(batch), totals, 0.2, 0.8).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@settings(max_examples=15, deadline=None)
@given(_lengths)
def test_losses_do_not_depend_on_batch_mates(lengths: list[tuple[int, int]]) -> None:
    """In the tight layout a sample scores alone as in any batch, to rounding."""
    model, batch = tiny_model().eval(), tiny_batch(lengths)
    with torch.no_grad():
        together = model(batch, per_sample=True)
        for index in range(len(lengths)):
            alone = model(rows_of(batch, [index]))
            torch.testing.assert_close(alone.text_loss_sum, together.text_loss_sum[index])
            torch.testing.assert_close(alone.mel_loss_sum, together.mel_loss_sum[index])


def test_the_legacy_layout_lets_mel_see_the_padding_of_the_text() -> None:
    """There a short text's mel loss changes beside a longer one, and its text loss does not."""
    model, batch = tiny_model().eval(), tiny_batch([(2, 9), (18, 9)])
    with torch.no_grad():
        together = model(batch, "legacy", per_sample=True)
        alone = model(rows_of(batch, [0]), "legacy")
    torch.testing.assert_close(alone.text_loss_sum, together.text_loss_sum[0])
    assert abs(alone.mel_loss_sum - together.mel_loss_sum[0]) > 1e-3


def test_both_layouts_agree_where_nothing_is_padded() -> None:
    """Samples of equal lengths have equal losses in both layouts."""
    model, batch = tiny_model().eval(), tiny_batch([(6, 9), (6, 9)])
    with torch.no_grad():
        tight, legacy = model(batch), model(batch, "legacy")
    torch.testing.assert_close(tight.mel_loss_sum, legacy.mel_loss_sum)
    torch.testing.assert_close(tight.text_loss_sum, legacy.text_loss_sum)


def test_a_tight_sequence_has_no_gap() -> None:
    """Conditioning, speed, start, text, stop, start and codes lie directly one after another."""
    config, batch = tiny_config(), tiny_batch([(3, 5), (1, 2)])
    plan = lay_out(batch, config)
    prefix = 4 + 2
    assert prefix + 3 + 2 + 5 + 1 == plan.width
    second = [row - plan.width for row in range(plan.width, plan.width + prefix + 1 + 2 + 2 + 1)]
    found = torch.cat([plan.prefix_rows, plan.text.rows, plan.mel.rows])
    mine = sorted(int(row) - plan.width for row in found if row >= plan.width)
    assert second == mine
    assert len(found) == len(set(found.tolist()))


def test_targets_are_every_token_and_one_stop() -> None:
    """A sample of T tokens and M codes has T + 1 and M + 1 targets, each the next input."""
    batch = tiny_batch([(3, 5), (1, 2)])
    plan = lay_out(batch, tiny_config())
    assert (3 + 1 + 1 + 1, 5 + 1 + 2 + 1) == (plan.text_tokens, plan.mel_tokens)
    first = [*batch.codes[0].tolist(), 33, *batch.codes[1, :2].tolist(), 33]
    assert first == plan.mel.targets.tolist()
    assert [32, *batch.codes[0].tolist(), 32, *batch.codes[1, :2].tolist()] == plan.mel.ids.tolist()


@settings(max_examples=10, deadline=None)
@given(_lengths, st.data())
def test_the_cut_into_micro_batches_changes_nothing(
    lengths: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Any cut of a step batch gives the same gradient, to rounding."""
    model, batch = tiny_model(dropout=0.0), tiny_batch(lengths)
    totals = TokenTotals(
        text=sum(text + 1 for text, _ in lengths), mel=sum(mel + 1 for _, mel in lengths)
    )
    cut = data.draw(st.integers(1, len(lengths) - 1))
    parts = [rows_of(batch, range(cut)), rows_of(batch, range(cut, len(lengths)))]
    whole = _gradients(model, [batch], totals)
    for one, other in zip(whole, _gradients(model, parts, totals), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_legacy_means_weigh_every_micro_batch_alike() -> None:
    """Token means of a micro-batch over the accumulation, as the earlier trainer had it."""
    sums = tiny_model().eval()(tiny_batch())
    text, mel = sums.text_loss_sum / sums.text_tokens, sums.mel_loss_sum / sums.mel_tokens
    torch.testing.assert_close((0.2 * text + 0.8 * mel) / 3, legacy_loss(sums, 0.2, 0.8, 3))


def test_checkpointing_is_a_switch_that_changes_no_gradient() -> None:
    """With it each block runs twice in a step, without it once; gradients are equal."""
    gradients, runs = [], []
    for checkpointing in (False, True):
        model = tiny_model(dropout=0.0, checkpointing=checkpointing)
        count = 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        model.gpt.h.get_submodule("0.attn").register_forward_hook(counted)
        gradients.append(_gradients(model, [tiny_batch()], TokenTotals(text=1, mel=1)))
        runs.append(count)
    assert [1, 2] == runs
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_checkpointing_repeats_the_dropout_of_the_forward_pass() -> None:
    """With dropout the recomputed activations use the same masks, so gradients are equal."""
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(dropout=0.3, checkpointing=checkpointing)
        torch.manual_seed(11)
        gradients.append(_gradients(model, [tiny_batch()], TokenTotals(text=1, mel=1)))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_dropout_acts_in_training_only() -> None:
    """In eval mode two passes are equal; in training mode they are not."""
    model, batch = tiny_model(dropout=0.5), tiny_batch()
    with torch.no_grad():
        first, second = model(batch).mel_loss_sum, model(batch).mel_loss_sum
        assert not torch.equal(first, second)
        model.eval()
        assert torch.equal(model(batch).mel_loss_sum, model(batch).mel_loss_sum)


def test_losses_are_float32_under_bfloat16_autocast() -> None:
    """Sums over many tokens need the digits, whatever the layers compute in."""
    model, batch = tiny_model().eval(), tiny_batch()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = model(batch)
    with torch.no_grad():
        exact = model(batch)
    assert torch.float32 == rough.text_loss_sum.dtype == rough.mel_loss_sum.dtype
    torch.testing.assert_close(exact.mel_loss_sum, rough.mel_loss_sum, rtol=2e-2, atol=0)


def test_frozen_rows_survive_training_with_decay_and_momentum() -> None:
    """After AdamW with large rates and decay the base rows are equal to the last bit."""
    model = tiny_model(frozen_rows=12, seed=2)
    before = {name: value.clone() for name, value in model.table().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    for seed in range(4):
        weighted_loss(model(tiny_batch(seed=seed)), TokenTotals(text=9, mel=9), 1, 1).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = model.table()
    for name in ("text_embedding.weight", "text_head.weight", "text_head.bias"):
        assert torch.equal(before[name][:12], after[name][:12])
        assert not torch.isclose(before[name][12:], after[name][12:]).any()


@pytest.mark.parametrize("frozen", [0, 12, VOCABULARY + 1])
def test_freezing_does_not_change_the_losses(frozen: int) -> None:
    """Split tables compute what joined ones compute."""
    with torch.no_grad():
        plain, split = (tiny_model(frozen_rows=rows).eval()(tiny_batch()) for rows in (0, frozen))
    torch.testing.assert_close(plain.text_loss_sum, split.text_loss_sum)


def test_every_trained_tensor_has_its_name_and_shape() -> None:
    """The model's table is the trained part of a gpt.pth, in its order, and nothing else."""
    model = tiny_model(frozen_rows=7)
    shapes = trained_shapes(model.config, VOCABULARY)
    assert list(shapes.items()) == [(n, tuple(v.shape)) for n, v in model.table().items()]
    values = sum(value.numel() for value in model.table().values())
    assert values == sum(value.numel() for value in model.state_dict().values())


def test_a_model_without_speed_rows() -> None:
    """The configuration decides whether the two rows are there."""
    config = tiny_config(speed_rows=False)
    model = tiny_model(config)
    assert "speed_emb.weight" not in model.table()
    assert lay_out(tiny_batch(), config).width == lay_out(tiny_batch(), tiny_config()).width - 2
    assert torch.isfinite(model(tiny_batch(config=config)).mel_loss_sum)


def test_speed_rows_stand_in_reverse_order() -> None:
    """After the conditioning comes the row of index 1, then the row of index 0."""
    model, batch = tiny_model(), tiny_batch()
    assert model.speed_emb is not None
    rows = model.embed(lay_out(batch, model.config), batch.condition, batch.emo_vec)[0, 4:6]
    assert torch.equal(model.speed_emb.weight.flip(0), rows)


@pytest.mark.parametrize(("lengths", "words"), [((21, 3), "text"), ((3, 42), "mel")])
def test_a_sample_too_long_is_named(lengths: tuple[int, int], words: str) -> None:
    """Longer than the position tables is an error with the sample's name, not a crash."""
    with pytest.raises(DataInvalid, match=f"sample 1 has .* {words}"):
        tiny_model()(tiny_batch([(2, 2), lengths]))


def test_the_longest_samples_fit() -> None:
    """max_text_tokens tokens and max_mel_tokens + 1 codes are within the tables, in both layouts."""
    model = tiny_model()
    for layout in ("tight", "legacy"):
        assert torch.isfinite(model(tiny_batch([(20, 41)]), layout).mel_loss_sum)


def test_building_draws_no_random_number() -> None:
    """A model can be built and filled without moving a global generator."""
    before = torch.get_rng_state()
    tiny_model()
    assert torch.equal(before, torch.get_rng_state())


def test_the_same_seed_gives_the_same_model() -> None:
    """Fresh weights are a function of the seed."""
    one, other, third = (tiny_model(seed=seed).table() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["mel_head.weight"], third["mel_head.weight"])


def test_importing_the_model_does_not_import_transformers() -> None:
    """It takes longer to import than torch; only building a model needs it."""
    code = (
        "import sys, unbroken_tts.model.gpt, unbroken_tts.model.generate, unbroken_tts.evaluate,"
        " unbroken_tts.export; sys.exit('transformers' in sys.modules)"
    )
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
