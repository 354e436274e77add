"""What changed since the checkpoint: refused before anything is touched, or noted and gone on."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.checked_pairs import LONG_AGO
from support.pairs import write_pairs
from support.tiny_trainer import TinyTrainer, contents, journal, newest, require_equal
from unbroken.checkpoint.layout import Layout
from unbroken.journal.journal import read_lines
from unbroken_tts.settings import must_match_fields
from unbroken_tts.settings_flags import flag
from unbroken_tts.train.kept_settings import FOR_GOOD

OTHER: dict[str, tuple[str, ...]] = {
    "amp": ("--no-amp",),
    "decay": ("--decay", "all"),
    "dropout": ("--dropout", "0.3"),
    "ema_decay": ("--ema-decay", "0.9"),
    "epochs": ("--epochs", "9"),
    "exact_across_devices": ("--exact-across-devices", "3"),
    "grad_clip": ("--grad-clip", "0.7"),
    "language": ("--language", "am"),
    "layout": ("--layout", "legacy"),
    "learning_rate": ("--learning-rate", "0.00125"),
    "lora_alpha": ("--lora-alpha", "3", "--lora-rank", "2"),
    "lora_dropout": ("--lora-dropout", "0.3", "--lora-rank", "2"),
    "lora_rank": ("--lora-rank", "2"),
    "lora_targets": ("--lora-targets", "mlp", "--lora-rank", "2"),
    "loss_weighting": ("--loss-weighting", "legacy"),
    "max_steps": ("--max-steps", "30"),
    "mel_loss_weight": ("--mel-loss-weight", "0.6"),
    "mix": ("--mix", "xx=1"),
    "new_rows_lr_scale": ("--new-rows-lr-scale", "2"),
    "order": ("--order", "random"),
    "precision": ("--precision", "bf16"),
    "schedule": ("--schedule", "legacy"),
    "seed": ("--seed", "5"),
    "text_loss_weight": ("--text-loss-weight", "0.4"),
    "train_base_rows": ("--train-base-rows",),
    "train_layers": ("--train-layers", "heads"),
    "warmup_steps": ("--warmup-steps", "4"),
    "weight_decay": ("--weight-decay", "0.02"),
}


@pytest.fixture(scope="module")
def stopped(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a training stopped inside its seventh step."""
    output = tmp_path_factory.mktemp("stopped")
    trainer.stop(output, at=6, samples=3)
    return output


def state_of(output: Path) -> dict[str, str]:
    found = contents(output, but=("preflight.cache", "history.jsonl"))
    return {name: digest for name, digest in found.items() if not name.startswith("logs/resume-")}


def require_refused(trainer: TinyTrainer, output: Path, *flags: object) -> str:
    """Start, be refused by exit code 3 with the state of the run as it was; return the message.

    Only the history gains a line, and the logs a report.
    """
    before = state_of(output)
    ended = trainer.start(output, *flags)
    assert ended.code == 3, ended.out + ended.err
    assert before == state_of(output)
    assert "refused" == list(read_lines(Layout(output).history))[-1]["event"]
    return ended.err


def test_a_precision_that_does_not_act_is_no_secret(
    trainer: TinyTrainer, stopped: Path, tmp_path: Path
) -> None:
    """Beside the banner it says which one acts; accepted, what 16 bits mean is said, not last bits."""
    copy = Path(shutil.copytree(stopped, tmp_path / "copy"))
    ended = trainer.start(copy, "--precision", "bf16")
    assert 3 == ended.code
    (said,) = ended.lines("NOTE: --")
    assert said.startswith("NOTE: --precision bf16 differs from the run's and is not used: ")
    assert said.endswith(": --precision auto is (computed in fp32)")
    ended = trainer.start(copy, "--precision", "bf16", "--accept", "settings-unchanged")
    assert 0 == ended.code, ended.err
    assert [] == ended.lines("NOTE: --")
    (said,) = ended.lines("WARNING: Precision changed! Checkpoint: fp32, Current: bf16")
    assert said.endswith("every step is rounded to 8 significant bits, was 24")
    assert "The order of additions" not in ended.out


@pytest.mark.parametrize("name", sorted(must_match_fields()))
def test_another_setting_is_refused_with_both_values(
    trainer: TinyTrainer, stopped: Path, name: str
) -> None:
    """Every setting that decides the training is compared, and nothing is touched."""
    saved = newest(stopped).facts()["settings"]
    was = repr(saved[name]) if name in saved else "absent"
    message = require_refused(trainer, stopped, *OTHER[name])
    assert f"settings.{name} is " in message
    assert f", was {was}" in message


def test_another_learning_rate_is_told_in_the_known_words(
    trainer: TinyTrainer, stopped: Path, tmp_path: Path
) -> None:
    """Beside the setting: by how much the rates of the run would differ."""
    copy = Path(shutil.copytree(stopped, tmp_path / "copy"))
    saved = newest(copy).facts()["settings"]["learning_rate"]
    ended = trainer.start(copy, "--learning-rate", 1.5 * saved)
    assert 3 == ended.code
    assert "CRITICAL: LR mismatch detected!" in ended.out
    assert "CRITICAL: LR mismatch (50.0% difference)" in ended.out


@pytest.mark.parametrize("name", FOR_GOOD)
def test_what_a_run_keeps_for_ever_is_not_accepted(
    trainer: TinyTrainer, stopped: Path, name: str
) -> None:
    """A new value that could not act is refused by name, with what to type; nothing is touched."""
    before = state_of(stopped)
    ended = trainer.start(stopped, *OTHER[name], "--accept", "settings-unchanged")
    assert 3 == ended.code, ended.out + ended.err
    assert before == state_of(stopped)
    assert f"settings.{name} is " in ended.err
    assert flag(name).removeprefix("--") in ended.err.splitlines()[-1]


def test_another_effective_batch_goes_on_with_it(
    trainer: TinyTrainer, stopped: Path, tmp_path: Path
) -> None:
    """Asked for by both flags it is a warning; the step that was begun is finished as it was."""
    output = Path(shutil.copytree(stopped, tmp_path / "run"))
    begun = newest(stopped).evidence()["step_samples"]
    ended = trainer.start(output, "--batch-size", 4, "--grad-accumulation", 4)
    assert ended.code == 0, ended.out + ended.err
    started = [line for line in read_lines(Layout(output).history) if line["event"] == "start"]
    assert "batch-geometry-unchanged" in started[-1]["checks"]["taken"]
    sizes = {line["step"]: line["samples"] for line in journal(output).values()}
    assert begun == sizes[7]
    assert 44 == sizes[6] + sizes[7] + sizes[8] + sizes[9]
    assert {16, 11} == {sizes[8], sizes[9]}
    again = trainer.start(output)  # and it is the run's from here on
    assert again.code == 0, again.err
    assert 16 == newest(output).facts()["order"]["effective_batch"]


@pytest.mark.parametrize("change", ["one more", "one less", "another text", "other arrays"])
def test_other_data_is_refused(
    trainer: TinyTrainer, stopped: Path, tmp_path: Path, change: str
) -> None:
    """The data set is what its lines and arrays hold; each change is another data set."""
    data = Path(shutil.copytree(trainer.root / "data", tmp_path / "data"))
    manifest = data / "train_pairs.jsonl"
    lines = manifest.read_text("utf-8").splitlines()
    if change == "one more":
        extra = json.loads(lines[0]) | {"id": "one-more"}
        lines.append(json.dumps(extra))
    elif change == "one less":
        lines.pop()
    elif change == "another text":
        first = json.loads(lines[0])
        donor = next(
            each
            for each in map(json.loads, lines)
            if each["target_text_len"] == first["target_text_len"]
            and each["target_id"] != first["target_id"]
        )
        names = ("target_text", "target_text_ids_path")
        lines[0] = json.dumps(first | {name: donor[name] for name in names})
    else:
        write_pairs(data, 44, split="train", seed=0, codes=31)
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    message = require_refused(trainer, stopped, "--train-manifest", manifest)
    assert "data.train" in message


def test_a_permuted_tokenizer_of_the_same_size_is_refused(
    trainer: TinyTrainer, stopped: Path, tmp_path: Path
) -> None:
    """The number of pieces agrees, the pieces don't."""
    proto: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")  # untyped
    model = proto.ModelProto()
    model.ParseFromString((trainer.root / "tok.model").read_bytes())
    pieces = [each.piece for each in model.pieces][3:]
    for each, piece in zip(list(model.pieces)[3:], reversed(pieces), strict=True):
        each.piece = piece
    other = tmp_path / "permuted.model"
    other.write_bytes(model.SerializeToString())
    assert "tokenizer is " in require_refused(trainer, stopped, "--tokenizer", other)


def test_another_model_is_refused(trainer: TinyTrainer, stopped: Path, tmp_path: Path) -> None:
    """A configuration edited since is not passed over in favour of the saved one."""
    other = tmp_path / "config.yaml"
    content = yaml.safe_load((trainer.root / "config.yaml").read_text("utf-8"))
    content["gpt"]["heads"] = 4
    other.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert "model.heads is 4, was 2" in require_refused(trainer, stopped, "--config", other)


def test_an_edited_feature_file_is_named(trainer: TinyTrainer, tmp_path: Path) -> None:
    """The file and a sample of it, and what is true: the samples are the same, one's content is not."""
    data = Path(shutil.copytree(trainer.root / "data", tmp_path / "data"))
    for each in data.rglob("*.npy"):
        os.utime(each, (LONG_AGO, LONG_AGO))
    flags = ("--train-manifest", str(data / "train_pairs.jsonl"))
    trainer.stop(tmp_path / "run", *flags, at=1)
    line = json.loads((data / "train_pairs.jsonl").read_text("utf-8").splitlines()[3])
    file = data / line["prompt_emo_vec_path"]
    file.write_bytes(file.read_bytes()[:-4] + bytes(4))
    for _ in range(2):
        ended = trainer.start(tmp_path / "run", *flags)
        assert 3 == ended.code
        (said,) = ended.lines("NOTE: train: 1 file changed since the run was trained on them:")
        assert str(file) in said
        assert "The samples and their order are the run's, but the content" in ended.err
        assert "used twice" not in ended.out + ended.err


def test_what_may_change_goes_on_with_a_note(
    trainer: TinyTrainer, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    """Moved data, other validation data, workers and logs go on to the same end."""
    output = Path(shutil.copytree(stopped, tmp_path / "run"))
    data = Path(shutil.copytree(trainer.root / "data", tmp_path / "moved"))
    write_pairs(data, 9, split="other", seed=8)
    ended = trainer.start(
        output,
        *("--train-manifest", data / "train_pairs.jsonl"),
        *("--val-manifest", data / "other_pairs.jsonl"),
        *("--log-interval", 1, "--save-interval", 3, "--keep-checkpoints", 1),
        "--amp",
    )
    assert ended.code == 0, ended.err
    notes = "\n".join(ended.lines("NOTE: changed"))
    assert "data.validation is " in notes
    assert "sources.train_manifest is " in notes
    assert journal(whole) == journal(output)


def test_another_validation_set_forgets_the_best_score(
    trainer: TinyTrainer, stopped: Path, tmp_path: Path
) -> None:
    """A score on other samples is no rival: the first validation on the new ones is the best."""
    output = Path(shutil.copytree(stopped, tmp_path / "run"))
    manifest = write_pairs(tmp_path / "data", 9, split="other", seed=8)
    assert newest(output).part("best")["loss"] is not None
    ended = trainer.start(output, "--val-manifest", manifest)
    assert ended.code == 0, ended.err
    assert ended.lines("[Val]")[0].endswith("(best so far)")


def test_the_text_vocabulary_of_the_file_may_be_corrected(
    trainer: TinyTrainer, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    """The tokenizer decides the vocabulary, so the number in the file binds nobody."""
    output = Path(shutil.copytree(stopped, tmp_path / "run"))
    other = tmp_path / "config.yaml"
    text = (trainer.root / "config.yaml").read_text("utf-8")
    other.write_text(text.replace("number_text_tokens: 40", "number_text_tokens: 12000"), "utf-8")
    ended = trainer.start(output, "--config", other)
    assert ended.code == 0, ended.err
    require_equal(whole, output)
