"""Adapters and chosen layers through the commands: what a run trains, exports, tells and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from support.tiny_base import EXTENDED, PIECES, TinyBase, write_tiny_base
from support.tiny_trainer import Ended, TinyTrainer, contents, newest, run_program
from unbroken import SettingsInvalid
from unbroken_tts.model.config import GptConfig
from unbroken_tts.settings import TrainSettings
from unbroken_tts.settings_flags import read_settings
from unbroken_tts.train.kept_settings import kept_settings, setting_facts
from unbroken_tts.train.part import part_of

LORA = (
    *("--lora-rank", 3, "--lora-alpha", 9, "--lora-dropout", 0.1, "--grad-checkpointing"),
    *("--ema-decay", 0.5, "--weight-decay", 0.5, "--decay", "all"),
    *("--max-steps", 4, "--save-interval", 2, "--val-interval", 4),
)
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def base(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> TinyBase:
    """Return a base checkpoint, and a vocabulary that extends its own."""
    return write_tiny_base(trainer, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tokenizer(trainer: TinyTrainer) -> Path:
    """Return the tokenizer of the base."""
    return trainer.root / "tok.model"


@pytest.fixture(scope="module")
def run(
    trainer: TinyTrainer, base: TinyBase, tokenizer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a run of adapters and new rows, with an average, heavy decay, and recomputing."""
    output = tmp_path_factory.mktemp("lora")
    ended = trainer.start(output, *base.flags, "--base-tokenizer", tokenizer, *LORA)
    assert ended.code == 0, ended.err
    assert ended.lines("Vocabulary:") == ["Vocabulary: 40 base rows frozen, 13 new rows trained"]
    (told,) = ended.lines("Trained:")
    assert "adapters of rank 3, alpha 9, on all projections of 2 blocks; text_embedding" in told
    return output


def export(source: Path, target: Path, *more: str) -> Tensors:
    """Export and read as inference does."""
    ended = run_program("export", source, target, *more)
    assert ended.code == 0, ended.err
    found: Tensors = torch.load(target, weights_only=True)
    return found


def read(path: Path) -> Tensors:
    """Read a gpt.pth as inference does."""
    found: Tensors = torch.load(path, weights_only=True)
    return found


def is_projection(name: str) -> bool:
    """Return whether a tensor has an adapter."""
    return ".c_" in name and name.endswith(".weight")


@pytest.mark.parametrize("more", [(), ("--ema",), ("--average", "2"), ("--best",)])
def test_an_export_has_the_names_of_the_base_and_only_the_adapted_weights_moved(
    run: Path, base: TinyBase, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """Newest, average, mean and best: merged weights, and every other tensor bit for bit the base's."""
    found, before = export(run, tmp_path / "gpt.pth", *more), read(base.gpt)
    assert list(before) == list(found)
    for name, tensor in before.items():
        rows = tensor.shape[0]
        if name.startswith(("text_embedding.", "text_head.")):
            assert torch.equal(tensor[:PIECES], found[name][:PIECES])
            assert EXTENDED + 1 == found[name].shape[0]
        else:
            assert torch.equal(tensor, found[name]) == (not is_projection(name)), name
            assert rows == found[name].shape[0]


def test_the_merged_weights_follow_from_the_saved_adapters(
    run: Path, base: TinyBase, tmp_path: Path
) -> None:
    """W' = W + alpha / rank * (B A) transposed, for each Conv1D, from the checkpoint's own tensors."""
    found, before = export(run, tmp_path / "gpt.pth"), read(base.gpt)
    saved = {name: each.read() for name, each in newest(run).tensors("model").items()}
    for layer in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        name = f"gpt.h.1.{layer}"
        down, up = (saved[f"model.{name}.lora_{part}.default.weight"] for part in "AB")
        expected = before[f"{name}.weight"] + 9 / 3 * (up @ down).T
        torch.testing.assert_close(found[f"{name}.weight"], expected, rtol=1e-6, atol=1e-7)


def test_a_folder_of_inference_is_proved_as_any_other(run: Path, tmp_path: Path) -> None:
    """It is read back and compared, and has the same weights as the file."""
    ended = run_program("export", run, tmp_path / "voice")
    assert (0, True) == (ended.code, "read back and compared" in ended.out), ended.err
    found, alone = read(tmp_path / "voice" / "gpt.pth"), export(run, tmp_path / "gpt.pth")
    assert found.keys() == alone.keys()
    assert all(torch.equal(each, alone[name]) for name, each in found.items())


def test_an_inspection_tells_layers_counts_and_memory(run: Path) -> None:
    """Adapters, what is trained and what is frozen, and the memory that follows."""
    ended = run_program("inspect", run)
    assert ended.lines("Layers:")[0].endswith("of 2 blocks; text_embedding, text_head")
    assert "16 tensors, 1,536 numbers" in ended.lines("Adapters:")[0]
    assert "40 text rows and all other layers" in ended.lines("Frozen:")[0]
    told: dict[str, Any] = json.loads(run_program("inspect", run, "--json").out)
    trained, frozen = told["trained"]["numbers"], told["frozen"]["numbers"]
    assert trained * 16 + frozen * 4 == told["memory"]["fp32"]["card"]
    assert trained == 1_536 + 13 * (2 * 16 + 1)


def test_another_rank_or_base_is_refused_and_the_same_goes_on(
    trainer: TinyTrainer, base: TinyBase, tokenizer: Path, run: Path, tmp_path: Path
) -> None:
    """By name, with exit code 3, and nothing is changed."""

    def resumed(*more: object) -> Ended:
        return trainer.start(run, *base.flags, "--base-tokenizer", tokenizer, *LORA, *more)

    before = contents(run / "checkpoints")
    for flags, told in (
        (("--lora-rank", 4), "settings.lora_rank is 4, was 3"),
        (("--lora-targets", "mlp"), "settings.lora_targets is 'mlp', was absent"),
        (("--train-layers", "last:1"), "settings.train_layers is 'last:1', was absent"),
        (
            ("--lora-alpha", 3, "--accept", "settings-unchanged"),
            "settings.lora_alpha is 3.0, was 9.0",
        ),
    ):
        ended = resumed(*flags)
        assert (3, True) == (ended.code, told in ended.err), ended.err
    other = read(base.gpt)
    other["gpt.h.0.mlp.c_fc.bias"] += 1
    torch.save(other, tmp_path / "other.pth")
    ended = resumed("--base-checkpoint", tmp_path / "other.pth")
    assert (3, True) == (ended.code, "has other layers than the base that the run" in ended.err)
    torch.save(read(base.gpt), tmp_path / "copy.pth")
    ended = resumed("--base-checkpoint", tmp_path / "copy.pth")
    assert ended.code == 0, ended.err
    assert before == contents(run / "checkpoints")


def test_a_run_of_all_layers_begins_from_the_merged_weights(
    trainer: TinyTrainer, base: TinyBase, run: Path, tmp_path: Path
) -> None:
    """--init-from takes a run of adapters as any other, and so it does the other way round."""
    steps = ("--max-steps", 1, "--warmup-steps", 1)
    whole = tmp_path / "whole"
    ended = trainer.start(whole, *base.flags, "--init-from", run, *steps, resume="")
    assert ended.code == 0, ended.err
    assert not ended.lines("Trained:")
    voice = ("--init-from", whole, "--lora-rank", 2, "--train-layers", "none")
    ended = trainer.start(tmp_path / "voice", *base.flags, *voice, *steps, resume="")
    assert ended.code == 0, ended.err
    assert "13 new rows NOT trained" in ended.lines("Vocabulary:")[0]
    assert "rank 2, alpha 4, on all projections of 2 blocks:" in ended.lines("Trained:")[0]


def test_adapters_alone_are_trained_where_no_row_is_new(
    trainer: TinyTrainer, base: TinyBase, tokenizer: Path, tmp_path: Path
) -> None:
    """With the tokenizer of the base `auto` leaves the text tables as they are."""
    words = ("--base-checkpoint", base.gpt, "--base-tokenizer", tokenizer, "--lora-rank", 2)
    ended = trainer.start(tmp_path, *words, "--max-steps", 1, "--warmup-steps", 1)
    assert ended.code == 0, ended.err
    (told,) = ended.lines("Trained:")
    assert "of 2 blocks: 1,024 numbers" in told


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--train-layers", "2"), "'2', and the model has 2 blocks"),
        (("--train-layers", "none"), "names no layer, and there is no --lora-rank"),
        (("--lora-rank", 2, "--train-layers", "blocks"), "none is left for adapters"),
        (("--lora-rank", 17), "--lora-rank is 17, and the model is 16 wide"),
        (("--lora-rank", 2, "--base-checkpoint", "none"), "Random weights would be frozen"),
    ],
)
def test_what_can_t_be_trained_is_refused_before_the_data_are_read(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path, flags: tuple[object, ...], told: str
) -> None:
    """One message, exit code 2, no run."""
    ended = trainer.start(tmp_path / "out", *base.flags, *flags)
    assert (2, True) == (ended.code, told in ended.err), ended.err
    assert not ended.lines("Data")
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"train_layers": "heads,x"}, "'x', which is no layer"),
        ({"lora_rank": "-1"}, "--lora-rank is '-1', but must be a whole number at least 0"),
        ({"lora_rank": "2", "lora_targets": "q_proj"}, "one of all, attention, mlp"),
        ({"lora_rank": "2", "lora_dropout": "1"}, "a finite number at least 0 and below 1"),
        ({"lora_alpha": "32"}, "is --adapter-alpha"),
        ({"lora_targets": "mlp"}, "--lora-targets without --lora-rank"),
    ],
)
def test_settings_that_no_model_has_are_refused(values: dict[str, str], told: str) -> None:
    """Without any file being read."""
    with pytest.raises(SettingsInvalid, match=told):
        read_settings({**REQUIRED, **values})


REQUIRED: dict[str, Any] = {"train_manifest": ["a"], "val_manifest": ["b"], "tokenizer": "c"}


def test_a_run_of_an_earlier_version_goes_on_with_all_layers() -> None:
    """Its facts don't name what it had not, and neither does a new run that uses none of it."""
    settings = read_settings(REQUIRED)
    facts = setting_facts(settings)
    assert not [name for name in facts if "lora" in name or "layers" in name]
    assert settings == kept_settings(settings, {"settings": facts})
    asked = read_settings({**REQUIRED, "lora_rank": "8", "lora_targets": "mlp"})
    kept = kept_settings(asked, {"settings": facts})
    assert (0, "all") == (kept.lora_rank, kept.lora_targets)


def test_everything_is_trained_unless_something_is_asked_for(trainer: TinyTrainer) -> None:
    """`all` is the same as nothing, so no run has a fact for it."""
    config = GptConfig.from_yaml(trainer.root / "config.yaml")
    for choice in ("auto", "all"):
        settings = TrainSettings.model_validate(REQUIRED | {"train_layers": choice})
        assert part_of(settings, config, is_same_vocabulary=True) is None


def test_an_old_run_can_only_go_on_with_all_layers(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path
) -> None:
    """Its moments belong to them; the message says how to train adapters on its weights."""
    (tmp_path / "old").mkdir()
    torch.save({"model": {}}, tmp_path / "old" / "latest.pth")
    flags = trainer.flags(tmp_path / "new", *map(str, base.flags), "--lora-rank", "2")
    ended = run_program("rescue", tmp_path / "old", *flags)
    assert (2, True) == (ended.code, "--init-from FILE of the old run" in ended.err), ended.err
