"""An extended vocabulary: the base's rows stay the base's, the new ones learn, and export joins them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch

from support.tiny_base import EXTENDED, PIECES, TinyBase, write_tiny_base
from support.tiny_trainer import TinyTrainer, contents, newest, run_program
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt_file import TEXT_TENSORS, gpt_file_shapes
from unbroken_tts.train.load import load_weights

STEPS = ("--max-steps", 6, "--weight-decay", 0.5, "--decay", "all", "--val-interval", 6)


@pytest.fixture(scope="module")
def base(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> TinyBase:
    """Return a base checkpoint and what extends it."""
    return write_tiny_base(trainer, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def extended(
    trainer: TinyTrainer, base: TinyBase, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a run on the extended vocabulary, with a moving average and heavy decay."""
    output = tmp_path_factory.mktemp("extended")
    ended = trainer.start(output, *base.flags, *STEPS, "--ema-decay", 0.5)
    assert ended.code == 0, ended.err
    assert ended.lines("Vocabulary:") == ["Vocabulary: 40 base rows frozen, 13 new rows trained"]
    return output


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read a gpt.pth as inference does."""
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return found


def export(run: Path, target: Path, *more: str) -> dict[str, torch.Tensor]:
    """Export and read."""
    ended = run_program("export", run, target, *more)
    assert ended.code == 0, ended.err
    return read(target)


def test_an_exported_file_tells_which_rows_are_frozen(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path
) -> None:
    """Trained on from an export, the base's rows stay frozen as they were in its run."""
    steps = ("--max-steps", 1, "--warmup-steps", 1)
    assert trainer.start(tmp_path / "one", *base.flags, *steps).code == 0
    assert run_program("export", tmp_path / "one", tmp_path / "voice").code == 0
    words = (*base.flags, "--base-checkpoint", tmp_path / "voice/gpt.pth", *steps)
    ended = trainer.start(tmp_path / "two", *words)
    assert ended.code == 0, ended.err
    assert newest(tmp_path / "two").facts()["frozen_rows"] == PIECES


def test_frozen_rows_are_the_base_s_to_the_last_bit(
    base: TinyBase, extended: Path, tmp_path: Path
) -> None:
    """Neither gradient, momentum nor decay of any kind moved them; the new rows learnt."""
    before, after = read(base.gpt), export(extended, tmp_path / "gpt.pth")
    for name in TEXT_TENSORS:
        assert torch.equal(before[name][:PIECES], after[name][:PIECES]), name
        mean = before[name][:PIECES].double().mean(0).float()
        assert not torch.equal(mean.expand_as(after[name][PIECES:]), after[name][PIECES:]), name


def test_new_rows_start_at_the_mean(trainer: TinyTrainer, base: TinyBase, tmp_path: Path) -> None:
    """Before the first update that has a rate, every new row is the mean of the base's."""
    flags = (*base.flags, "--schedule", "legacy", "--max-steps", 1)  # its first rate is 0
    assert trainer.start(tmp_path / "run", *flags).code == 0
    before, after = read(base.gpt), export(tmp_path / "run", tmp_path / "gpt.pth")
    for name in TEXT_TENSORS:
        mean = before[name][:PIECES].double().mean(0).float()
        assert torch.equal(mean.expand_as(after[name][PIECES:]), after[name][PIECES:]), name


def test_the_optimiser_knows_only_the_new_rows(extended: Path) -> None:
    """They form their own group without decay; no state has the size of the frozen ones."""
    optimizer = newest(extended).part("optimizer")
    groups = {group["name"]: group for group in optimizer["groups"]}
    assert groups["new_rows"]["weight_decay"] == 0.0
    assert groups["decayed"]["weight_decay"] == 0.5
    rows = {
        leaf: entry.shape[0]
        for leaf, entry in newest(extended).manifest.leaves.items()
        if leaf.startswith("optimizer.") and ".text_" in leaf and entry.shape
    }
    text = {leaf: n for leaf, n in rows.items() if "text_embedding" in leaf or "text_head" in leaf}
    assert {EXTENDED + 1 - PIECES} == set(text.values())


def test_train_base_rows_opens_them(trainer: TinyTrainer, base: TinyBase, tmp_path: Path) -> None:
    """On purpose the base's rows are trained as well."""
    flags = (*base.flags, "--train-base-rows", "--max-steps", 2)
    assert trainer.start(tmp_path / "run", *flags).code == 0
    before, after = read(base.gpt), export(tmp_path / "run", tmp_path / "gpt.pth")
    for name in TEXT_TENSORS:
        assert not torch.equal(before[name][:PIECES], after[name][:PIECES]), name


def test_an_export_is_what_inference_loads(
    trainer: TinyTrainer, base: TinyBase, extended: Path, tmp_path: Path
) -> None:
    """Exactly the keys and shapes in their order, and the carried encoders bit for bit."""
    config = GptConfig.from_yaml(trainer.root / "config.yaml")
    found, before = export(extended, tmp_path / "gpt.pth"), read(base.gpt)
    shapes = {name: tuple(each.shape) for name, each in found.items()}
    assert list(gpt_file_shapes(config, EXTENDED).items()) == list(shapes.items())
    untrained_encoders = [name for name in found if "encoder" in name or name.startswith("emo")]
    assert len(untrained_encoders) > 50
    for name in untrained_encoders:
        assert torch.equal(before[name], found[name]), name


def test_run_checkpoint_and_export_score_the_same(
    trainer: TinyTrainer, base: TinyBase, extended: Path, tmp_path: Path
) -> None:
    """`evaluate` says the same of all three, and the moving average is another model."""
    export(extended, tmp_path / "gpt.pth")
    export(extended, tmp_path / "ema.pth", "--ema")

    def scores(what: Path, *more: str) -> dict[str, float]:
        ended = run_program(
            *("evaluate", what, "--json", "--config", trainer.root / "config.yaml"),
            *("--manifest", base.data / "val_pairs.jsonl", *more),
        )
        assert ended.code == 0, ended.err
        found: dict[str, float] = json.loads(ended.out)
        return found

    of_run = scores(extended)
    assert of_run == scores(newest(extended).path) == scores(tmp_path / "gpt.pth")
    averaged = scores(extended, "--ema")
    assert averaged == scores(tmp_path / "ema.pth")
    assert averaged != of_run


def test_the_moving_average_resumes_exactly(
    trainer: TinyTrainer, base: TinyBase, extended: Path, tmp_path: Path
) -> None:
    """It is a part like any other: stopped inside a step and resumed, it ends the same."""
    flags = (*base.flags, *STEPS, "--ema-decay", 0.5)
    trainer.stop(tmp_path, *flags, at=3, samples=3)
    assert trainer.start(tmp_path, *flags).code == 0
    leaves = [leaf for leaf in newest(extended).manifest.leaves if leaf.startswith("ema.")]
    assert len(leaves) > 20
    whole, cut = newest(extended).manifest.leaves, newest(tmp_path).manifest.leaves
    assert {leaf: whole[leaf].digest for leaf in whole} == {leaf: cut[leaf].digest for leaf in cut}


def test_without_a_moving_average_ema_says_so(whole: Path, trainer: TinyTrainer) -> None:
    """Nothing else is scored in its place."""
    ended = run_program("evaluate", whole, "--manifest", "x.jsonl", "--ema")
    assert ended.code == 2
    manifest = trainer.root / "data/val_pairs.jsonl"
    ended = run_program("evaluate", whole, "--manifest", manifest, "--ema")
    assert ended.code == 2
    assert "no moving average" in ended.err


def test_another_vocabulary_is_refused_with_the_command_that_works(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path
) -> None:
    """Both sizes are named, nothing changes, and the command line in the message begins the run."""
    output = tmp_path / "run"
    assert trainer.start(output, "--base-checkpoint", base.gpt, "--max-steps", 2).code == 0
    before = contents(output)
    ended = trainer.start(output, *base.flags, "--max-steps", 2)
    assert ended.code == 3, ended.err
    assert f"has {EXTENDED} pieces, the run's had {PIECES}" in ended.err
    assert before == contents(output)
    command = next(line for line in ended.err.splitlines() if "--init-from" in line)
    program, *words = shlex.split(command)
    assert program == "unbroken-tts"
    began = run_program(*words)
    assert began.code == 0, began.err
    assert before == contents(output)
    assert began.lines("Vocabulary:") == ["Vocabulary: 40 base rows frozen, 13 new rows trained"]
    weights = load_weights(Path(words[words.index("--output-dir") + 1])).model.table()
    old = load_weights(output).model.table()
    for name in TEXT_TENSORS:
        assert torch.equal(old[name][:PIECES], weights[name][:PIECES]), name


@pytest.mark.parametrize("kind", ["run", "checkpoint", "file", "latest.pth"])
def test_a_new_run_begins_from_any_weights(
    trainer: TinyTrainer, base: TinyBase, extended: Path, tmp_path: Path, kind: str
) -> None:
    """A run, a checkpoint, a gpt.pth or a file of the earlier trainer; frozen rows stay frozen."""
    source = {"run": extended, "checkpoint": newest(extended).path}.get(kind)
    if source is None:
        source = tmp_path / ("gpt.pth" if kind == "file" else kind)
        tensors = export(extended, tmp_path / "export.pth")
        torch.save({"model": tensors, "step": 3} if kind == "latest.pth" else tensors, source)
    output = tmp_path / "new"
    flags = (*base.flags, "--init-from", source, "--max-steps", 2)
    ended = trainer.start(output, *flags, resume="")
    assert ended.code == 0, ended.err
    assert ended.lines("Vocabulary:") == ["Vocabulary: 40 base rows frozen, 13 new rows trained"]
    old, new = load_weights(extended).model.table(), load_weights(output).model.table()
    for name in TEXT_TENSORS:
        assert torch.equal(old[name][:PIECES], new[name][:PIECES]), name
        assert not torch.equal(old[name][PIECES:], new[name][PIECES:]), name
    assert newest(output).position.step == 2


def test_init_from_is_never_mixed_with_resume(
    trainer: TinyTrainer, extended: Path, tmp_path: Path
) -> None:
    """Begin from weights or go on with a run; both at once is exit code 2."""
    ended = trainer.start(tmp_path / "new", "--init-from", extended)
    assert ended.code == 2
    assert "--init-from" in ended.err
    assert not (tmp_path / "new").exists()


def test_a_run_begun_again_carries_the_encoders_of_its_own_base(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path
) -> None:
    """What an unfinished beginning with another base left behind is not exported later."""
    refused = trainer.start(tmp_path, "--learning-rate", 1e30, "--warmup-steps", 0)
    assert refused.code == 6, refused.err
    (tmp_path / "journal.jsonl").unlink()  # as if it had ended in its first step
    ended = trainer.start(tmp_path, *base.flags, "--max-steps", 1)
    assert ended.code == 0, ended.err
    assert ended.lines("Began again")
    name = "perceiver_encoder.latents"
    assert torch.equal(read(base.gpt)[name], load_weights(tmp_path).untrained_encoders[name])
