"""Settings: the users' flags and defaults, a settings file, and what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from unbroken.errors import SettingsInvalid
from unbroken_tts.settings import TrainSettings, must_match_fields
from unbroken_tts.settings.declaration import mark
from unbroken_tts.settings_flags import add_flags, flag, read_settings, to_yaml

REQUIRED = [
    "--train-manifest",
    "preprocessed_amharic/train_pairs.jsonl",
    "--val-manifest",
    "preprocessed_amharic/val_pairs.jsonl",
    "--tokenizer",
    "tokenizers/amharic_extended_bpe.model",
]

DEFAULTS = {
    "config": Path("checkpoints/config.yaml"),
    "base_checkpoint": "checkpoints/gpt.pth",
    "output_dir": Path("trained_ckpts"),
    "batch_size": 0,
    "grad_accumulation": 0,
    "epochs": 10,
    "learning_rate": 2e-5,
    "weight_decay": 0.01,
    "warmup_steps": 1000,
    "max_steps": 0,
    "log_interval": 100,
    "val_interval": 1000,
    "val_batch_size": 0,
    "max_val_batches": 200,
    "num_workers": 0,
    "grad_clip": 1.0,
    "text_loss_weight": 0.2,
    "mel_loss_weight": 0.8,
    "amp": None,
    "grad_checkpointing": False,
    "resume": "",
    "save_interval": 1000,
    "keep_checkpoints": 3,
    "seed": 1234,
}


def parse(*words: str) -> TrainSettings:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    return read_settings(vars(parser.parse_args(words)))


def test_the_users_command_parses() -> None:
    """The line its users type means what it says."""
    settings = parse(*REQUIRED, "--output-dir", "training_output", "--resume", "auto", "--amp")
    assert ("preprocessed_amharic/train_pairs.jsonl",) == settings.train_manifest
    assert Path("training_output") == settings.output_dir
    assert "auto" == settings.resume
    assert settings.amp is True


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_known_flag_keeps_its_default(name: str) -> None:
    """A flag of the earlier trainer that is left out means what it meant."""
    assert DEFAULTS[name] == getattr(parse(*REQUIRED), name)


def test_manifests_repeat() -> None:
    """Manifests are mixed in the order given, with their language suffix."""
    settings = parse(*REQUIRED, "--train-manifest", "other, with comma=1@2.jsonl::en")
    assert (
        "preprocessed_amharic/train_pairs.jsonl",
        "other, with comma=1@2.jsonl::en",
    ) == settings.train_manifest


@pytest.mark.parametrize(("word", "expected"), [("0", 0), ("3", 3), ("none", "none")])
def test_zero_workers_can_be_asked_for(word: str, expected: int | str) -> None:
    """0 stays automatic; `none` is no worker at all."""
    assert expected == parse(*REQUIRED, "--num-workers", word).num_workers


@pytest.mark.parametrize("word", ["none", "a.pth"])
def test_a_run_can_start_without_a_base(word: str) -> None:
    """`--base-checkpoint none` is fresh weights."""
    assert word == parse(*REQUIRED, "--base-checkpoint", word).base_checkpoint


def test_a_switch_can_be_turned_off_by_flag() -> None:
    """What a settings file turns on, `--no-...` turns off again."""
    assert parse(*REQUIRED, "--no-amp").amp is False
    assert parse(*REQUIRED, "--no-keep-best").keep_best is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch-size", "-3"),
        ("batch-size", "1.5"),
        ("batch-size", "99999999999999999999"),
        ("grad-accumulation", "-1"),
        ("epochs", "0"),
        ("max-steps", "-20"),
        ("learning-rate", "nan"),
        ("learning-rate", "1e400"),
        ("learning-rate", "0"),
        ("learning-rate", "-2e-5"),
        ("learning-rate", "fast"),
        ("weight-decay", "inf"),
        ("val-interval", "-1"),
        ("keep-checkpoints", "0"),
        ("num-workers", "two"),
        ("num-workers", "-1"),
        ("threads", "1025"),
        ("dropout", "1"),
        ("ema-decay", "1.0"),
        ("seed", "-1"),
        ("seed", "9223372036854775808"),
        ("device", "gpu"),
        ("layout", "loose"),
        ("precision", "fp8"),
        ("grace-seconds", "-1"),
    ],
)
def test_nonsense_is_refused_by_name(name: str, value: str) -> None:
    """The message names the flag, the value and what is allowed; the exit code is 2."""
    with pytest.raises(SettingsInvalid) as caught:
        parse(*REQUIRED, f"--{name}={value}")
    assert 2 == caught.value.exit_code
    assert f"--{name} is '{value}', but must be " in caught.value.what
    assert caught.value.remedy.startswith(f"Give --{name} ")


def test_all_nonsense_is_named_at_once() -> None:
    """Two bad values are two lines of one message, not two attempts."""
    with pytest.raises(SettingsInvalid) as caught:
        parse(*REQUIRED, "--epochs=0", "--order=sorted")
    assert 2 == len(caught.value.what.splitlines())


def test_what_is_missing_is_listed() -> None:
    """All required flags that were left out are named together."""
    with pytest.raises(SettingsInvalid, match=r"--val-manifest and --tokenizer are missing"):
        parse("--train-manifest", "a.jsonl")


def test_two_verbs_are_not_mixed() -> None:
    """Beginning from weights and going on with a run exclude each other."""
    with pytest.raises(SettingsInvalid, match="--init-from"):
        parse(*REQUIRED, "--init-from", "gpt.pth", "--resume", "auto")


def test_a_loss_of_nothing_is_refused() -> None:
    """Both weights at zero would learn nothing."""
    with pytest.raises(SettingsInvalid, match="both 0"):
        parse(*REQUIRED, "--text-loss-weight", "0", "--mel-loss-weight", "0")


FILE = """\
# as the Amharic scripts use it
train-manifest: [a.jsonl, "b.jsonl::am"]
val_manifest: v.jsonl
tokenizer: t.model
learning-rate: 5e-6
text-loss-weight: 0.4
amp: true
num-workers: none
output-dir: D:\\runs\\one
"""


def test_a_settings_file_sets_what_flags_set(tmp_path: Path) -> None:
    """Keys with dashes or underscores, a lone manifest, and YAML's odd `5e-6` are understood."""
    path = tmp_path / "settings.yaml"
    path.write_text(FILE, encoding="utf-8")
    settings = parse("--settings", str(path))
    assert ("a.jsonl", "b.jsonl::am") == settings.train_manifest
    assert ("v.jsonl",) == settings.val_manifest
    assert 5e-6 == settings.learning_rate
    assert "none" == settings.num_workers
    assert settings.amp is True
    assert Path("D:\\runs\\one") == settings.output_dir


def test_a_flag_beats_the_file(tmp_path: Path) -> None:
    """What is typed counts more than what was written down, and the rest of the file stays."""
    path = tmp_path / "settings.yaml"
    path.write_text(FILE, encoding="utf-8")
    settings = parse("--settings", str(path), "--learning-rate", "1e-4", "--train-manifest", "c")
    assert 1e-4 == settings.learning_rate
    assert ("c",) == settings.train_manifest
    assert 0.4 == settings.text_loss_weight


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning-rat: 1", "Did you mean learning-rate?"),
        ("epochs: true", "--epochs is True"),
        ("learning-rate: true", "--learning-rate is True"),
        ("epochs: [1]", "--epochs is [1]"),
        ("epochs: 3\nepochs: 4", "is given twice"),
        ("max-steps: 3\nmax_steps: 4", "twice"),
        ("- a\n- b", "contains list"),
        ("just words", "contains str"),
        ("a: [1", "can't be read"),
        ("train-manifest: 3", "--train-manifest is 3"),
    ],
)
def test_a_bad_settings_file_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    """An unknown key, a value of the wrong kind, broken YAML: each is named, exit code 2."""
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsInvalid) as caught:
        parse(
            *(REQUIRED if "train-manifest" not in text else REQUIRED[2:]), "--settings", str(path)
        )
    assert expected in caught.value.what


def test_a_settings_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(SettingsInvalid, match=r"absent\.yaml"):
        parse(*REQUIRED, "--settings", str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--num-workers", "none", "--dropout", "0", "--init-from", "a/b.pth"],
        ["--no-amp", "--seed", "9223372036854775807", "--learning-rate", "1e-5"],
        ["--train-manifest", "ሰላም.jsonl::am", "--save-minutes", "0.1", "--resume", "latest"],
    ],
)
def test_written_settings_read_back_equal(tmp_path: Path, words: list[str]) -> None:
    """The file saved with a run gives the same settings again."""
    settings = parse(*REQUIRED, *words)
    path = tmp_path / "settings.yaml"
    path.write_text(to_yaml(settings), encoding="utf-8")
    assert settings == parse("--settings", str(path))


def test_every_setting_teaches_and_is_marked() -> None:
    """Each has a sentence of help and says whether a resume may change it."""
    for name, field in TrainSettings.model_fields.items():
        assert (field.description or "").endswith("."), name
        assert mark(field).resume in {"must match", "may change"}


def test_what_decides_the_trajectory_must_match() -> None:
    """The marks hold what changes the mathematics, and not where things lie or how they are cut."""
    assert {
        "learning_rate",
        "weight_decay",
        "warmup_steps",
        "max_steps",
        "epochs",
        "seed",
        "order",
        "layout",
        "dropout",
    } <= must_match_fields()
    assert not must_match_fields() & {"batch_size", "num_workers", "output_dir", "train_manifest"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--max-steps", "20"], "--warmup-steps 1000"),
        (["--sample-audio", "2"], "--codec"),
        (["--save-interval", "0"], "--save-minutes"),
    ],
)
def test_what_is_probably_not_meant_is_noted(words: list[str], expected: str) -> None:
    """Allowed, but said aloud."""
    (note,) = parse(*REQUIRED, *words).notes()
    assert expected in note


def test_flags_are_the_names_with_dashes() -> None:
    """One rule from setting to flag."""
    settings: dict[str, Any] = TrainSettings.model_fields
    assert "--val-batch-size" == flag("val_batch_size")
    assert "val_batch_size" in settings
