"""What a training needs is compared with what is free before anything is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unbroken import SettingsInvalid
from unbroken_tts.hardware import Hardware, memory, memory_need, require_memory
from unbroken_tts.model.config import GptConfig
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.initial_weights import parameter_numbers

PROCESSOR = Hardware(device="cpu", name="x", memory_gib=16, cores=2, has_bf16=True, has_tf32=False)
CARD = replace(PROCESSOR, device="cuda:0")
FULL_SIZE = 527_000_000
"""Trained numbers of the real model: 24 layers, 1280 wide."""


def test_on_a_processor_all_is_in_main_memory() -> None:
    """Weight, gradient, two moments, and the snapshot: 28 bytes a number; an average takes 8 more."""
    need = memory_need(PROCESSOR, FULL_SIZE, has_average=False)
    assert (0, 28 * FULL_SIZE) == (need.device, need.host)
    assert 36 * FULL_SIZE == memory_need(PROCESSOR, FULL_SIZE, has_average=True).host


def test_on_a_card_only_the_snapshot_is_in_main_memory() -> None:
    """The rest is on the card."""
    need = memory_need(CARD, FULL_SIZE, has_average=False)
    assert (16 * FULL_SIZE, 12 * FULL_SIZE) == (need.device, need.host)


@pytest.mark.parametrize(
    ("hardware", "on_card", "in_main", "told"),
    [
        (PROCESSOR, 0, 14.7, "at least 14.8 GB of main memory, and 14.7 GB are free"),
        (CARD, 8.0, 64, "at least 8.4 GB of GPU memory, and 8.0 GB are free"),
        (CARD, 24.0, 6.0, "at least 6.3 GB of main memory, and 6.0 GB are free"),
    ],
)
def test_too_little_is_refused_with_both_figures(
    monkeypatch: pytest.MonkeyPatch, hardware: Hardware, on_card: float, in_main: float, told: str
) -> None:
    """It would be killed after minutes of loading."""
    monkeypatch.setattr(memory, "free_on_card", lambda _: int(on_card * memory.GB))
    monkeypatch.setattr(memory, "free_in_main_memory", lambda: int(in_main * memory.GB))
    need = memory_need(hardware, FULL_SIZE, has_average=False)
    with pytest.raises(SettingsInvalid, match=told):
        require_memory(hardware, need)
    monkeypatch.setattr(memory, "free_on_card", lambda _: 24 * memory.GB)
    monkeypatch.setattr(memory, "free_in_main_memory", lambda: 24 * memory.GB)
    require_memory(hardware, need)


@pytest.mark.parametrize(("limit", "free"), [("3000", 3000 - 1000 + 200), ("max", None)])
def test_a_container_has_no_more_than_its_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, free: int | None
) -> None:
    """Pages of files that are not used any more can be given up; without a limit it is the machine's."""
    monkeypatch.setattr(memory, "_GROUP", tmp_path / "none")
    without = memory.free_in_main_memory()
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 700\ninactive_file 200\n")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    found = memory.free_in_main_memory()
    assert found == free if free is not None else 0.5 < found / without < 2


def test_numbers_are_counted_without_memory_for_them() -> None:
    """The real size: as many as its file has, and no tensor of it is made."""
    encoder = {"output_size": 512, "linear_units": 2048, "attention_heads": 8, "num_blocks": 6,
               "input_layer": "conv2d2", "perceiver_mult": 2}  # fmt: skip
    config = GptConfig.from_mapping(
        {"model_dim": 1280, "layers": 24, "heads": 20, "max_text_tokens": 600,
         "max_mel_tokens": 1815, "number_text_tokens": 12_000, "number_mel_codes": 8194,
         "start_mel_token": 8192, "stop_mel_token": 8193, "condition_module": encoder,
         "emo_condition_module": encoder},
        origin="a test",
    )  # fmt: skip
    settings = TrainSettings.model_construct(grad_checkpointing=False, dropout=0.0)
    trained, frozen = parameter_numbers(settings, config, 12_000, None)
    assert 500e6 < trained < 560e6
    assert frozen == 0
