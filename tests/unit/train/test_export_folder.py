"""`unbroken-tts export RUN DIR`: a folder that the unchanged inference program runs from."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from support.tiny_trainer import Ended, TinyTrainer, newest, run_program
from unbroken import Checkpoint, SettingsInvalid
from unbroken_tts.export import write_gpt_pth
from unbroken_tts.export.ingredients import config_of, tokenizer_of
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt_file import gpt_file_shapes
from unbroken_tts.train.kept_files import kept_config, kept_tokenizer

PIECES = 40


def read(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return found


def refused(ended: Ended, *words: str) -> None:
    assert 2 == ended.code, ended.err
    for word in words:
        assert word in ended.err


@pytest.fixture(scope="module")
def indextts(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like that of IndexTTS2: its own configuration, and files of other models."""
    folder = tmp_path_factory.mktemp("indextts") / "checkpoints"
    (folder / "qwen0.6bemo4-merge").mkdir(parents=True)
    (folder / "qwen0.6bemo4-merge" / "model.safetensors").write_bytes(b"qwen")
    for name in ("gpt.pth", "bpe.model", "s2mel.pth", "feat1.pt", "feat2.pt"):
        (folder / name).write_bytes(f"the base's {name}".encode())
    (folder / "wav2vec2bert_stats.pt").write_bytes(b"statistics")
    gpt = yaml.safe_load((trainer.root / "config.yaml").read_text(encoding="utf-8"))["gpt"]
    lines = yaml.safe_dump({"gpt": gpt | {"number_text_tokens": 7}}, sort_keys=False)
    text = f"""\
# Of the user
dataset:
    bpe_model: bpe.model  # the tokenizer
    mel: {{sample_rate: 24000, normalize: false}}
{lines}semantic_codec:
    codebook_size: 8192
gpt_checkpoint: gpt.pth
w2v_stat: wav2vec2bert_stats.pt
s2mel_checkpoint: s2mel.pth
emo_matrix: feat2.pt
spk_matrix: feat1.pt
emo_num: [3, 17, 2, 8, 4, 5, 10, 24]
qwen_emo_path: qwen0.6bemo4-merge/
version: 2.0
"""
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_folder_has_all_that_inference_loads(whole: Path, indextts: Path, tmp_path: Path) -> None:
    """Weights of every key and shape, the user's configuration, the tokenizer, links to the rest."""
    target = tmp_path / "am"
    config = indextts / "config.yaml"
    ended = run_program("export", whole, target, "--into", indextts, "--config", config)
    assert 0 == ended.code, ended.err
    written = yaml.safe_load((target / "config.yaml").read_text(encoding="utf-8"))
    before = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert PIECES == written["gpt"].pop("number_text_tokens")
    assert 7 == before["gpt"].pop("number_text_tokens")
    assert before == written
    tensors = read(target / written["gpt_checkpoint"])
    shapes = gpt_file_shapes(GptConfig.from_yaml(target / "config.yaml"), PIECES)
    assert list(shapes.items()) == [(name, tuple(each.shape)) for name, each in tensors.items()]
    for name in ("w2v_stat", "s2mel_checkpoint", "emo_matrix", "spk_matrix", "qwen_emo_path"):
        assert (target / written[name]).exists()
    assert b"the base's s2mel.pth" == (target / "s2mel.pth").read_bytes()
    assert b"the base's gpt.pth" == (indextts / "gpt.pth").read_bytes()


def test_the_configuration_of_the_linked_folder_goes_first(
    whole: Path, indextts: Path, tmp_path: Path
) -> None:
    """With --into its config.yaml is taken, comments and all; without, what is lacking is named."""
    ended = run_program("export", whole, tmp_path / "am", "--into", indextts)
    assert 0 == ended.code, ended.err
    text = (indextts / "config.yaml").read_text(encoding="utf-8")
    changed = text.replace("number_text_tokens: 7", f"number_text_tokens: {PIECES}")
    assert changed == (tmp_path / "am/config.yaml").read_text(encoding="utf-8")
    alone = run_program("export", whole, tmp_path / "alone")
    assert "WARNING: config.yaml lacks" in alone.out
    assert "--into" in alone.out


def test_the_record_names_run_data_and_every_digest(whole: Path, tmp_path: Path) -> None:
    """provenance.json tells the run, the step, the data, and the SHA-256 of each file it wrote."""
    target = tmp_path / "am"
    assert 0 == run_program("export", whole, target).code
    record = json.loads((target / "provenance.json").read_text(encoding="utf-8"))
    facts = newest(whole).facts()
    assert newest(whole).manifest.run_id == record["weights"]["run"]
    assert newest(whole).position.step == record["weights"]["step"]
    assert facts["data"] == record["data"]
    assert facts["tokenizer"] == record["tokenizer"]["digest"]
    names = {path.name for path in target.iterdir()} - {"provenance.json"}
    assert names == set(record["files"])
    for name, each in record["files"].items():
        assert hashlib.sha256((target / name).read_bytes()).hexdigest() == each["sha256"]


def test_the_run_keeps_configuration_and_tokenizer(
    whole: Path, trainer: TinyTrainer, tmp_path: Path
) -> None:
    """An export needs nothing outside of the run: both were kept when the run began."""
    assert (trainer.root / "config.yaml").read_bytes() == kept_config(whole).read_bytes()
    target = tmp_path / "am"
    assert 0 == run_program("export", whole, target).code
    assert (trainer.root / "tok.model").read_bytes() == (target / "bpe.model").read_bytes()


def test_a_run_that_kept_neither_is_looked_after(
    whole: Path, trainer: TinyTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without copies in the run the files are found where it read them; if gone, that is said."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    kept_config(run).unlink()
    kept_tokenizer(run).unlink()
    assert 0 == run_program("export", run, tmp_path / "am").code
    assert (trainer.root / "tok.model").read_bytes() == (tmp_path / "am/bpe.model").read_bytes()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SettingsInvalid, match=r"config\.yaml of these weights is gone.*do not exist"
    ):
        config_of({"sources": {}}, run, None, None)
    config = trainer.root / "config.yaml"
    facts = {"tokenizer": "other", "sources": {"tokenizer": str(trainer.root / "tok.model")}}
    with pytest.raises(SettingsInvalid, match="tokenizer of these weights is gone"):
        tokenizer_of(facts, run, None, config, PIECES)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_other_precisions(whole: Path, tmp_path: Path, dtype: str) -> None:
    """Every tensor is the rounded one, in a folder as in a file."""
    assert 0 == run_program("export", whole, tmp_path / "full.pth").code
    assert 0 == run_program("export", whole, tmp_path / "am", "--dtype", dtype).code
    full, half = read(tmp_path / "full.pth"), read(tmp_path / "am" / "gpt.pth")
    assert {getattr(torch, dtype)} == {each.dtype for each in half.values()}
    assert all(torch.equal(full[name].to(half[name].dtype), half[name]) for name in full)


def test_best_is_the_lowest_validation_loss(whole: Path, tmp_path: Path) -> None:
    """--best takes the checkpoint with the lowest loss, and says so in the record."""
    assert 0 == run_program("export", whole, tmp_path / "am", "--best").code
    record = json.loads((tmp_path / "am/provenance.json").read_text(encoding="utf-8"))["weights"]
    scores = {
        place.name: Checkpoint.at(place).manifest.metrics.get("val_loss")
        for place in (whole / "checkpoints").iterdir()
    }
    known = {name: score for name, score in scores.items() if score is not None}
    assert [min(known, key=lambda name: known[name])] == record["checkpoints"]
    assert min(known.values()) == record["val_loss"]


def test_the_mean_of_checkpoints(whole: Path, tmp_path: Path) -> None:
    """--average K is the mean of the K newest checkpoints, each exported by itself."""
    names = sorted(path.name for path in (whole / "checkpoints").glob("step-*"))[-2:]
    for name in names:
        place = whole / "checkpoints" / name
        assert 0 == run_program("export", place, tmp_path / f"{name}.pth").code
    assert 0 == run_program("export", whole, tmp_path / "mean.pth", "--average", 2).code
    first, second = (read(tmp_path / f"{name}.pth") for name in names)
    mean = read(tmp_path / "mean.pth")
    assert any(not torch.equal(first[name], second[name]) for name in first)
    for name, tensor in mean.items():
        assert torch.equal(((first[name].double() + second[name]) / 2).float(), tensor)
    refused(run_program("export", whole, tmp_path / "x.pth", "--average", 99), "99", "checkpoints")
    refused(run_program("export", whole, tmp_path / "x.pth", "--average", 1), "2 or more")


def test_what_inference_refuses_is_left_out(
    whole: Path, trainer: TinyTrainer, tmp_path: Path
) -> None:
    """Keys that the original constructor doesn't know are left out, and named."""
    text = (trainer.root / "config.yaml").read_text(encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("gpt:\n", "gpt:\n  dropout: 0.0\n  speaker_dim: 3\n"))
    ended = run_program("export", whole, tmp_path / "am", "--config", config)
    assert 0 == ended.code, ended.err
    section = yaml.safe_load((tmp_path / "am/config.yaml").read_text(encoding="utf-8"))["gpt"]
    assert not {"dropout", "speaker_dim", "speed_rows"} & section.keys()
    assert "gpt.dropout" in ended.out
    assert "gpt.speaker_dim" in ended.out


def test_a_configuration_of_another_model_is_refused(
    whole: Path, trainer: TinyTrainer, tmp_path: Path
) -> None:
    """Another width or no YAML: exit code 2, and no folder."""
    text = (trainer.root / "config.yaml").read_text(encoding="utf-8")
    config = tmp_path / "config.yaml"
    for content, word in (
        (text.replace("model_dim: 16", "model_dim: 18"), "model_dim"),
        ("gpt: [", "not YAML"),
        ("other: 1\n", "no `gpt` section"),
    ):
        config.write_text(content, encoding="utf-8")
        refused(run_program("export", whole, tmp_path / "am", "--config", config), word)
        assert not (tmp_path / "am").exists()


def test_a_tokenizer_of_another_training_is_refused(
    whole: Path, trainer: TinyTrainer, tmp_path: Path
) -> None:
    """Pieces that are not the run's never stand beside its weights."""
    foreign = tmp_path / "foreign.model"
    foreign.write_bytes(b"nonsense")
    refused(run_program("export", whole, tmp_path / "am", "--tokenizer", foreign), "SentencePiece")
    assert not (tmp_path / "am").exists()


def test_nothing_of_the_user_is_replaced(whole: Path, tmp_path: Path) -> None:
    """A folder with other files stays, with --force too; an earlier export is replaced by it."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_bytes(b"mine")
    for more in ((), ("--force",)):
        refused(run_program("export", whole, mine, *more), "exists")
    assert b"mine" == (mine / "notes.txt").read_bytes()
    target = tmp_path / "am"
    assert 0 == run_program("export", whole, target).code
    refused(run_program("export", whole, target), "--force")
    assert 0 == run_program("export", whole, target, "--force", "--dtype", "float16").code
    assert {torch.float16} == {each.dtype for each in read(target / "gpt.pth").values()}
    assert {"mine", "am"} == {path.name for path in tmp_path.iterdir()}


def test_a_folder_appears_only_when_proved(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that come back from the disk with one other bit leave no folder behind."""

    def write_damaged(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        other = dict(tensors)
        other["mel_head.bias"] = other["mel_head.bias"].clone()
        other["mel_head.bias"].view(torch.uint8)[0] ^= 1
        write_gpt_pth(path, other)

    monkeypatch.setattr("unbroken_tts.export.folder.write_gpt_pth", write_damaged)
    refused(run_program("export", whole, tmp_path / "am"), "mel_head.bias")
    assert [] == list(tmp_path.iterdir())


def test_an_interrupted_export_leaves_nothing_in_the_way(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is one message and no folder; what a killed export left is cleared by the next."""

    def fill_the_disk(_path: Path, _tensors: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("unbroken_tts.export.folder.write_gpt_pth", fill_the_disk)
        refused(run_program("export", whole, tmp_path / "am"), "No space left", "can't be written")
    assert [] == list(tmp_path.iterdir())
    leftover = tmp_path / ".am.partial"
    leftover.mkdir()
    (leftover / "gpt.pth").write_bytes(b"half")
    assert 0 == run_program("export", whole, tmp_path / "am").code
    assert ["am"] == [path.name for path in tmp_path.iterdir()]


def test_a_replaced_export_comes_back_if_the_new_one_fails(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --force the old folder goes only when the new one is complete."""
    target = tmp_path / "am"
    assert 0 == run_program("export", whole, target).code
    before = (target / "gpt.pth").read_bytes()

    def fail(*_arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("unbroken_tts.export.folder.digest_of", fail)
    refused(run_program("export", whole, target, "--force"), "Input/output error")
    assert before == (target / "gpt.pth").read_bytes()
    assert ["am"] == [path.name for path in tmp_path.iterdir()]


def test_a_file_of_weights_becomes_a_folder(
    whole: Path, trainer: TinyTrainer, tmp_path: Path
) -> None:
    """A gpt.pth, as one of the earlier trainer, needs its configuration and tokenizer named."""
    file = tmp_path / "model_step8.pth"
    assert 0 == run_program("export", whole, file).code
    config = ("--config", trainer.root / "config.yaml")
    refused(run_program("export", file, tmp_path / "am", *config), "--tokenizer")
    tokenizer = ("--tokenizer", trainer.root / "tok.model")
    ended = run_program("export", file, tmp_path / "am", *config, *tokenizer)
    assert 0 == ended.code, ended.err
    assert "nothing says which rules" in ended.out
    record = json.loads((tmp_path / "am/provenance.json").read_text(encoding="utf-8"))
    assert record["weights"]["file"] == file.name
    assert hashlib.sha256(file.read_bytes()).hexdigest() == record["weights"]["sha256"]
    assert record["text_rules"] is None


def test_a_value_too_large_for_the_precision_is_refused(whole: Path, tmp_path: Path) -> None:
    """float16 ends at 65504: a larger weight would become infinite, so nothing is written."""
    assert 0 == run_program("export", whole, tmp_path / "full.pth").code
    tensors = read(tmp_path / "full.pth")
    tensors["mel_head.bias"][0] = 1e5
    torch.save(tensors, tmp_path / "large.pth")
    words = ("export", tmp_path / "large.pth", tmp_path / "half.pth", "--dtype", "float16")
    refused(run_program(*words, "--config", kept_config(whole)), "mel_head.bias", "bfloat16")
    assert not (tmp_path / "half.pth").exists()


def test_flags_that_do_not_fit(whole: Path, indextts: Path, tmp_path: Path) -> None:
    """--into of nothing or of itself, --best of a file, --into for a file: each says what to do."""
    refused(run_program("export", whole, tmp_path / "am", "--into", tmp_path / "no"), "--into")
    copy = tmp_path / "empty"
    copy.mkdir()
    refused(run_program("export", whole, copy, "--into", copy), "itself")
    refused(run_program("export", whole, tmp_path / "a.pth", "--into", indextts), "--into")
    assert 0 == run_program("export", whole, tmp_path / "full.pth").code
    file = tmp_path / "full.pth"
    refused(run_program("export", file, tmp_path / "b.pth", "--best"), "--best")
    refused(run_program("export", whole, tmp_path / "c", "--best", "--average", 2), "--average")
