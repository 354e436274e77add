"""LoRA adapters in the model: what peft does with them is the reference."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from support.tiny_model import tiny_batch, tiny_model
from unbroken import SettingsInvalid
from unbroken_tts.model.adapters import begin_adapters, plain_name
from unbroken_tts.model.generate import SpeechRequest, generate
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.lora import is_of_adapter
from unbroken_tts.model.sampling import Sampling
from unbroken_tts.model.trained_part import Lora, TrainedPart, chosen_groups

BLOCKS = 2


class Shell(nn.Module):
    """A model without a `config`, of which peft would ask things that ours doesn't answer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tiny_model()


def part(choice: str = "text", **changes: Any) -> TrainedPart:
    """Return adapters beside a choice of layers."""
    fields: dict[str, Any] = {"rank": 4, "alpha": 6, "dropout": 0.0, "targets": "all"}
    lora = Lora(**(fields | changes))
    return TrainedPart(groups=chosen_groups(choice, BLOCKS), blocks=BLOCKS, lora=lora)


def adapted(trained: TrainedPart, **options: Any) -> VoiceGpt:
    """Return a tiny model with new adapters."""
    model = tiny_model(part=trained, **options)
    begin_adapters(model, seed=3)
    return model


def disturb(model: VoiceGpt) -> None:
    """Give the adapters values as after a training."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, each in model.named_parameters():
            if is_of_adapter(name):
                each.normal_(0.0, 0.3, generator=draw)


def step(model: VoiceGpt, seed: int = 11) -> None:
    """Apply one large update with strong decay to what is trained."""
    trained = [each for each in model.parameters() if each.requires_grad]
    torch.manual_seed(seed)
    sums = model(tiny_batch())
    (sums.text_loss_sum + sums.mel_loss_sum).backward()
    torch.optim.AdamW(trained, lr=0.1, weight_decay=0.5).step()


def test_new_adapters_change_nothing_and_draw_no_number() -> None:
    """B begins at zero (Hu et al. 2021), A derives from the seed alone."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = adapted(part()).eval()
    assert torch.equal(before, torch.get_rng_state())
    plain, ours = tiny_model().eval()(tiny_batch()), model(tiny_batch())
    assert torch.equal(plain.mel_loss_sum, ours.mel_loss_sum)
    again = dict(adapted(part()).named_parameters())
    assert all(torch.equal(each, again[name]) for name, each in model.named_parameters())
    assert any(".lora_A." in name and each.abs().max() > 0 for name, each in again.items())


@pytest.mark.parametrize("targets", ["all", "attention", "mlp"])
def test_the_merged_weights_are_those_that_peft_merges(targets: str) -> None:
    """Names, shapes and values of `merge_and_unload()`, and the loss of the adapted model."""
    from peft import LoraConfig, get_peft_model

    trained = part("none", targets=targets)
    ours = adapted(trained)
    disturb(ours)
    layers = [f"model.{layer}" for layer in trained.adapted]
    config = LoraConfig(r=4, lora_alpha=6, target_modules=layers, fan_in_fan_out=True)
    theirs = get_peft_model(Shell(), config)
    values = dict(ours.named_parameters())
    with torch.no_grad():
        for name, each in theirs.base_model.model.model.named_parameters():
            each.copy_(values[name])
    merged = theirs.merge_and_unload().model
    expected, found = merged.table(), ours.table()
    assert list(expected) == list(found) == list(tiny_model().table())
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-7, msg=name)
    assert not torch.equal(
        tiny_model().table()[f"{trained.adapted[0]}.weight"], found[f"{trained.adapted[0]}.weight"]
    )
    plain = tiny_model()
    plain.load_table(found)
    one, other = (model.eval()(tiny_batch()).mel_loss_sum for model in (plain, ours))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 10])
@pytest.mark.parametrize("choice", ["none", "text", "1,heads"])
def test_what_is_frozen_never_moves(choice: str, rows: int) -> None:
    """No gradient, no optimiser, no decay: every bit stays, and everything else moves."""
    model = adapted(part(choice), frozen_rows=rows)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    for _ in range(2):  # A moves once B is not zero
        step(model)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    for name, tensor in model.state_dict().items():
        assert torch.equal(before[name], tensor) == (name not in trained), name
    assert all(each.grad is None for name, each in model.named_parameters() if name not in trained)
    assert trained == {
        name
        for name in before
        if is_of_adapter(name)
        or (
            part(choice).trains(plain_name(name))
            and not name.endswith((".base", "base_weight", "base_bias"))
        )
    }


def test_recomputed_activations_give_the_same_gradients() -> None:
    """`--grad-checkpointing` repeats the dropout of the adapters too."""
    found = []
    for checkpointing in (False, True):
        model = adapted(part(dropout=0.3), checkpointing=checkpointing)
        disturb(model)
        torch.manual_seed(7)
        sums = model(tiny_batch())
        (sums.text_loss_sum + sums.mel_loss_sum).backward()
        found.append({name: each.grad for name, each in model.named_parameters()})
    for name, gradient in found[0].items():
        other = found[1][name]
        assert (gradient is None and other is None) or (
            gradient is not None and other is not None and torch.equal(gradient, other)
        )


def test_dropout_of_the_adapters_acts_in_training_alone() -> None:
    """Another mask gives another loss; in evaluation there is none."""
    model = adapted(part(dropout=0.5), dropout=0.0)
    disturb(model)

    def loss(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        found: torch.Tensor = model(tiny_batch()).mel_loss_sum
        return found

    assert not torch.equal(loss(1), loss(2))
    assert torch.equal(loss(1), loss(1))
    model.eval()
    assert torch.equal(loss(1), loss(2))


def test_a_moving_average_leaves_frozen_layers_as_they_are() -> None:
    """An average of equal bits is those bits; that of adapters follows them."""
    model = adapted(part("none"))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    average.update_parameters(model)
    for seed in (1, 2, 3):
        step(model, seed)
        average.update_parameters(model)
    for name, each in average.module.named_parameters():
        assert torch.equal(each, dict(model.named_parameters())[name]) != each.requires_grad, name


def test_half_precision_computes_gradients_for_adapters_alone() -> None:
    """Autocast in bf16: finite gradients in float32."""
    model = adapted(part("none", dropout=0.1))
    disturb(model)
    with torch.autocast("cpu", torch.bfloat16):
        sums = model(tiny_batch())
    (sums.text_loss_sum + sums.mel_loss_sum).backward()
    for name, each in model.named_parameters():
        assert (each.grad is not None) == is_of_adapter(name)
        assert each.grad is None or (
            each.grad.dtype == torch.float32 and each.grad.isfinite().all()
        )


def test_an_adapted_model_speaks_as_the_merged_one() -> None:
    """Samples spoken while training are those of the export."""
    ours, merged = adapted(part("none")).eval(), tiny_model().eval()
    disturb(ours)
    merged.load_table(ours.table())
    batch = tiny_batch()
    said = SpeechRequest(
        text_ids=batch.text_ids[0, : batch.text_lengths[0]].tolist(),
        condition=batch.condition[0],
        emo_vec=batch.emo_vec[0],
    )
    one, other = (generate(model, [said], Sampling(), max_codes=12) for model in (ours, merged))
    assert one == other
    assert one != generate(tiny_model().eval(), [said], Sampling(), max_codes=12)


def test_without_peft_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """And without adapters nothing of it is needed."""
    monkeypatch.setitem(sys.modules, "peft", None)  # importing it now fails
    with pytest.raises(SettingsInvalid, match=r"pip install 'unbroken\[tts\]'"):
        tiny_model(part=part())
    tiny_model(part=TrainedPart(groups=chosen_groups("heads", BLOCKS), blocks=BLOCKS))
