"""Frozen layers need no gradients and no moments: what a start asks for, and the batch it chooses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unbroken import SettingsInvalid
from unbroken_tts.hardware import BYTES_SAVED, Hardware, memory, memory_need, plan_batch
from unbroken_tts.hardware.memory import memory_by_precision, require_memory

CARD = Hardware(device="cuda:0", name="x", memory_gib=11.7, cores=2, has_bf16=True, has_tf32=True)
TRAINED, FROZEN = 8_000_000, 519_000_000
"""Of the real model with adapters of rank 16."""


def test_a_frozen_number_needs_its_weight_alone() -> None:
    """4 bytes for 16 on the card, 4 for 12 beside it; an average holds all numbers."""
    need = memory_need(CARD, TRAINED, frozen=FROZEN, has_average=False)
    assert (16 * TRAINED + 4 * FROZEN, 12 * TRAINED + 4 * FROZEN) == (need.device, need.host)
    with_average = memory_need(CARD, TRAINED, frozen=FROZEN, has_average=True)
    assert need.device + 4 * (TRAINED + FROZEN) == with_average.device
    whole = memory_need(CARD, TRAINED + FROZEN, has_average=False)
    assert BYTES_SAVED * FROZEN == whole.device - need.device
    assert need.device == memory_by_precision(TRAINED, 0, FROZEN)["fp32"]["card"]


def test_adapters_fit_where_all_layers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal of a card that is too small says what would fit."""
    monkeypatch.setattr(memory, "free_on_card", lambda _: 6 * memory.GB)
    monkeypatch.setattr(memory, "free_in_main_memory", lambda: 64 * memory.GB)
    require_memory(CARD, memory_need(CARD, TRAINED, frozen=FROZEN, has_average=False))
    with pytest.raises(SettingsInvalid, match="--lora-rank 16, or --train-layers last:4"):
        require_memory(CARD, memory_need(CARD, TRAINED + FROZEN, has_average=False))
    monkeypatch.setattr(memory, "free_on_card", lambda _: 1 * memory.GB)
    with pytest.raises(SettingsInvalid, match=r"8 million trained .*; and 519 million frozen ones"):
        require_memory(CARD, memory_need(CARD, TRAINED, frozen=FROZEN, has_average=False))


def test_what_frozen_layers_leave_is_used_for_a_larger_micro_batch() -> None:
    """A card of 12 GB takes the batch of one with as much more, and the report says so."""
    freed = BYTES_SAVED * FROZEN
    assert (4, 8) == ((plan := plan_batch(CARD)).batch, plan.accumulation)
    plan = plan_batch(CARD, freed=freed)
    assert (6, 6) == (plan.batch, plan.accumulation)
    assert "Batch size: 6 (auto-detected; frozen layers leave 5.8 GiB more)" == plan.lines()[0]
    resumed = plan_batch(CARD, effective=32, freed=freed)
    assert (6, 32) == (resumed.batch, resumed.effective)


def test_what_is_asked_for_and_a_processor_are_left_alone() -> None:
    """The batch of a flag stands, and the table has one row for all processors."""
    freed = BYTES_SAVED * FROZEN
    assert 3 == plan_batch(CARD, batch=3, freed=freed).batch
    processor = replace(CARD, device="cpu")
    assert plan_batch(processor) == plan_batch(processor, freed=freed)
