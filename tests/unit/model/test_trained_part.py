"""Which layers a choice names, and how many numbers are then trained."""

from __future__ import annotations

import pytest

from support.tiny_model import VOCABULARY, tiny_config, tiny_model
from unbroken import SettingsInvalid
from unbroken_tts.model.trained_part import (
    Lora,
    TrainedPart,
    chosen_groups,
    require_choice,
    shown_groups,
)

LORA = Lora(rank=4, alpha=8, dropout=0.1, targets="all")


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        ("all", "all layers"),
        ("none", "nothing"),
        ("0-3,22", "blocks 0-3, 22"),
        ("first:2", "blocks 0-1"),
        ("last:4,heads", "blocks 20-23, mel_head, text_head"),
        ("5", "block 5"),
        ("blocks", "blocks 0-23"),
        ("text, mel", "mel_embedding, mel_head, text_embedding, text_head"),
        ("norms", "final_norm, ln_f"),
        ("positions,last:1", "block 23, mel_pos_embedding, text_pos_embedding"),
    ],
)
def test_a_choice_names_layers(choice: str, shown: str) -> None:
    """Blocks by number or from either end, and the modules outside of them by name."""
    require_choice(choice)
    assert shown == shown_groups(chosen_groups(choice, 24), 24)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("22-25", "'22-25', and the model has 24 blocks, from 0"),
        ("last:25", "'last:25', and the model has 24 blocks"),
        ("first:25", "'first:25', and"),
        ("3-1", "'3-1', which are no blocks"),
        ("last:0", "'last:0', which are no blocks"),
        ("head", "'head', which is no layer"),
        ("", "'', which is no layer"),
        ("1,,2", "'', which is no layer"),
        ("-1", "'-1', which is no layer"),
        ("0,0", "names '0' twice"),
        ("all,heads", "joins all or none with something else"),
        ("99999999999999999999", "which is no layer"),
    ],
)
def test_what_is_no_choice_is_refused_with_the_word_that_is_wrong(choice: str, told: str) -> None:
    """The message names the word, what the choice decides, and what may be given."""
    with pytest.raises(SettingsInvalid) as refused:
        chosen_groups(choice, 24)
    assert told in refused.value.what
    assert "last:N" in refused.value.remedy


def test_numbers_of_a_block_are_only_known_with_the_model() -> None:
    """Before the model is read, only what no model has is refused."""
    require_choice("last:30,99")
    with pytest.raises(SettingsInvalid):
        require_choice("last:x")


@pytest.mark.parametrize("targets", ["all", "attention", "mlp"])
@pytest.mark.parametrize("choice", ["none", "text", "1,heads"])
def test_the_numbers_are_those_of_the_built_model(choice: str, targets: str) -> None:
    """Counted from shapes alone, before anything has memory."""
    lora = Lora(rank=3, alpha=8, dropout=0, targets=targets)
    part = TrainedPart(groups=chosen_groups(choice, 2), blocks=2, lora=lora)
    parameters = list(tiny_model(part=part).parameters())
    trained = sum(each.numel() for each in parameters if each.requires_grad)
    frozen = sum(each.numel() for each in parameters) - trained
    assert (trained, frozen) == part.numbers(tiny_config(), VOCABULARY)


def test_adapters_are_on_the_blocks_that_are_not_trained_as_they_are() -> None:
    """A block that is trained needs none."""
    part = TrainedPart(groups=chosen_groups("1", 2), blocks=2, lora=LORA)
    assert {layer.split(".")[2] for layer in part.adapted} == {"0"}
    assert "on all projections of 1 block; block 1" in str(part)


def test_the_record_of_a_run_says_it_again() -> None:
    """A run that trains everything has none."""
    for part in (
        TrainedPart(groups=chosen_groups("last:1,heads", 2), blocks=2),
        TrainedPart(groups=frozenset(), blocks=2, lora=LORA),
    ):
        assert part == TrainedPart.of_record(part.recorded())
    assert TrainedPart.of_record(None) is None
    assert TrainedPart.whole(2).is_whole


@pytest.mark.parametrize(
    "change",
    [
        {"groups": ["text_haed"]},
        {"blocks": "two"},
        {"lora": {"rank": 2, "alpha": 4.0, "dropout": 0.0, "targets": "x"}},
        {"lora": {"rank": 2, "alpha": 4.0, "dropout": 0.0, "targets": "all", "new": 1}},
    ],
)
def test_a_record_of_a_later_version_is_refused(change: dict[str, object]) -> None:
    """It is not half understood: other layers would be trained than the run's."""
    record = TrainedPart.whole(2).recorded()
    for other in ({}, record | change):
        with pytest.raises(SettingsInvalid, match="which this version doesn't know"):
            TrainedPart.of_record(other)
