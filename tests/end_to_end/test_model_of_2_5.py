"""A training of a model like IndexTTS-2.5, from its weights to an export, killed on the way."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

from support.byte_vocabulary import write_vocabulary
from support.pairs import Spoken, write_pairs
from support.tiny_trainer import (
    Ended,
    TinyTrainer,
    newest,
    require_equal,
    run_program,
    write_tiny_trainer,
)
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.export import merge, write_gpt_pth
from unbroken_tts.model.archive import read_archive
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.language_table import first_language_id
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders

TABLE = "lang_embedding.weight"
KILLED = -signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What a user of 2.5 has, and data for it."""

    trainer: TinyTrainer
    gpt: Path
    config: Path
    tokenizer: Tokenizer
    val: Path
    flags: tuple[object, ...]

    def row(self, language: str) -> int:
        """Return the row of a language."""
        return self.tokenizer.languages.index(language)


def write_data(
    place: Path, tokenizer: Tokenizer, language: str, split: str, count: int, before: str = ""
) -> Path:
    spoken = Spoken(language=language, encode=tokenizer.encode, before=before or f"<|{language}|> ")
    return write_pairs(
        place, count, split=split, vocabulary=250, condition_rows=1, condition_width=192,
        text_lengths=(1, 3), spoken=spoken,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Write a base with the shapes of 2.5, whose config.yaml says 2.0 as the published one does."""
    root = tmp_path_factory.mktemp("of-2-5")
    trainer = write_tiny_trainer(root)
    assert "spk_cond_mode" not in (root / "config.yaml").read_text(encoding="utf-8")
    tokenizer = open_tokenizer(write_vocabulary(root / "mini.tiktoken"))
    config = GptConfig.from_yaml(root / "config.yaml").model_copy(
        update={"spk_cond_mode": "campplus", "language_rows": 107, "speed_rows": False}
    )
    model = VoiceGpt(config, tokenizer.vocabulary)
    model.initialise(17)
    write_gpt_pth(root / "gpt.pth", merge(model, fresh_untrained_encoders(config, 17)))
    train = write_data(root / "am", tokenizer, "am", "train", 44)
    val = write_data(root / "am", tokenizer, "am", "val", 12)
    flags = (
        "--base-checkpoint", root / "gpt.pth", "--tokenizer", root / "mini.tiktoken",
        "--train-manifest", train, "--val-manifest", val, "--max-steps", 8,
    )  # fmt: skip
    return Folder(
        trainer=trainer,
        gpt=root / "gpt.pth",
        config=root / "config.yaml",
        tokenizer=tokenizer,
        val=val,
        flags=flags,
    )


def refused(ended: Ended, code: int, *words: str) -> None:
    assert code == ended.code, ended.err
    for word in words:
        assert word in ended.err


def exported(run: Path, target: Path) -> dict[str, torch.Tensor]:
    ended = run_program("export", run, target)
    assert ended.code == 0, ended.err
    return read_archive(target)


def test_tokenizer_and_model_agree_on_the_languages(folder: Folder) -> None:
    """The id of the first language token is found by the size of the vocabulary alone."""
    vocabulary = folder.tokenizer.vocabulary
    assert folder.tokenizer.first_language_id == first_language_id(vocabulary)


def test_a_killed_training_ends_as_the_uninterrupted_one(folder: Folder, tmp_path: Path) -> None:
    """And its export is the base but for what was trained: of the table one row."""
    flags = [str(each) for each in (*folder.flags, "--init-language", "es")]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    began = folder.trainer.run(whole, *flags)
    assert began.returncode == 0, began.stderr
    assert "the row of the language am starts as that of es" in began.stdout
    assert folder.trainer.run(cut, *flags, event="micro:6:3").returncode == KILLED
    resumed = folder.trainer.run(cut, *flags)
    assert resumed.returncode == 0, resumed.stderr
    assert "EXACT" in resumed.stdout
    require_equal(whole, cut)
    assert folder.row("am") == newest(cut).facts()["language_row"]
    before, after = read_archive(folder.gpt), exported(cut, tmp_path / "gpt.pth")
    assert list(before) == list(after)
    moved = (before[TABLE] != after[TABLE]).any(dim=1).nonzero().flatten().tolist()
    assert [folder.row("am")] == moved
    assert not torch.equal(before["spk_emb_proj.weight"], after["spk_emb_proj.weight"])
    assert torch.equal(before["emo_layer.weight"], after["emo_layer.weight"])


def test_an_exported_folder_is_one_of_2_5(folder: Folder, tmp_path: Path) -> None:
    """Its config.yaml has no key that the program gives itself; a new run begins from it."""
    run, target = tmp_path / "run", tmp_path / "folder"
    ended = folder.trainer.start(run, *folder.flags, "--max-steps", 2)
    assert ended.code == 0, ended.err
    assert "starts as the noise that lies there" in ended.out
    ended = run_program("export", run, target)
    assert ended.code == 0, ended.err
    document = yaml.safe_load((target / "config.yaml").read_text(encoding="utf-8"))
    assert not {"spk_cond_mode", "language_rows", "speed_rows"} & document["gpt"].keys()
    more = ("--base-checkpoint", target / "gpt.pth", "--config", target / "config.yaml")
    ended = folder.trainer.start(tmp_path / "next", *folder.flags, *more, "--max-steps", 1)
    assert ended.code == 0, ended.err
    ended = run_program("inspect", target / "gpt.pth")
    assert "IndexTTS-2.5" in ended.out


def test_a_run_and_its_export_have_the_same_losses(folder: Folder, tmp_path: Path) -> None:
    """`evaluate` takes both; the exported file needs the config.yaml that says 2.0."""
    run, gpt = tmp_path / "run", tmp_path / "gpt.pth"
    ended = folder.trainer.start(run, *folder.flags, "--max-steps", 2)
    assert ended.code == 0, ended.err
    exported(run, gpt)
    words = ("--manifest", folder.val, "--json")
    of_run = run_program("evaluate", run, *words)
    of_export = run_program("evaluate", gpt, "--config", folder.config, *words)
    assert (0, 0) == (of_run.code, of_export.code), of_run.err + of_export.err
    assert json.loads(of_run.out)["mel_loss"] > 0
    assert of_run.out == of_export.out


def test_adapters_leave_the_language_its_row(folder: Folder, tmp_path: Path) -> None:
    """LoRA freezes the blocks; the row of the language is trained beside the adapters."""
    more = ("--base-tokenizer", folder.tokenizer.path, "--lora-rank", 2, "--max-steps", 3)
    ended = folder.trainer.start(tmp_path / "run", *folder.flags, *more)
    assert ended.code == 0, ended.err
    before, after = read_archive(folder.gpt), exported(tmp_path / "run", tmp_path / "gpt.pth")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {TABLE, "gpt.h.0.attn.c_attn.weight"} <= moved
    assert {"spk_emb_proj.weight", "gpt.h.0.ln_1.weight", "text_embedding.weight"}.isdisjoint(moved)


def test_two_languages_train_one_row(folder: Folder, tmp_path: Path) -> None:
    """With English mixed in, its row stays; the language with most tokens is the one that is learnt."""
    english = write_data(tmp_path / "en", folder.tokenizer, "en", "english", 24)
    ended = folder.trainer.start(
        tmp_path / "run", *folder.flags, "--train-manifest", english, "--mix", "am=0.8,en=0.2"
    )
    assert ended.code == 0, ended.err
    before, after = read_archive(folder.gpt), exported(tmp_path / "run", tmp_path / "gpt.pth")
    moved = (before[TABLE] != after[TABLE]).any(dim=1).nonzero().flatten().tolist()
    assert [folder.row("am")] == moved


def test_the_leading_language_of_a_mix_is_learnt(folder: Folder, tmp_path: Path) -> None:
    """Not the one with most data: a little of the new language beside much English is the usual case."""
    english = write_data(tmp_path / "en", folder.tokenizer, "en", "english", 120)
    ended = folder.trainer.start(
        tmp_path / "run", *folder.flags, "--train-manifest", english, "--mix", "am=0.85,en=0.15",
        "--max-steps", 1,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert folder.row("am") == newest(tmp_path / "run").facts()["language_row"]


def test_a_line_that_names_another_language_is_a_fault(folder: Folder, tmp_path: Path) -> None:
    """Of training and validation data alike, all of them, and it can be dropped."""
    wrong = write_data(tmp_path / "wrong", folder.tokenizer, "am", "wrong", 6, before="<|en|> ")
    for which in ("--train-manifest", "--val-manifest"):
        ended = folder.trainer.start(tmp_path / "run", *folder.flags, which, wrong)
        refused(ended, 2, "6 x text of another language than its line says")
    more = ("--val-manifest", wrong, "--on-bad-sample", "drop", "--max-steps", 1)
    ended = folder.trainer.start(tmp_path / "dropped", *folder.flags, *more)
    assert ended.code == 0, ended.err


def test_weights_without_the_table_are_refused(folder: Folder, tmp_path: Path) -> None:
    """A projection alone is no model of 2.5; trained, it could never be taken out again."""
    state = read_archive(folder.gpt)
    for number, table in enumerate((None, torch.ones(50, 16), torch.ones(()))):
        changed = {name: each for name, each in state.items() if name != TABLE}
        place = tmp_path / f"{number}.pth"
        torch.save(changed if table is None else {**changed, TABLE: table}, place)
        ended = folder.trainer.start(tmp_path / "run", *folder.flags, "--base-checkpoint", place)
        refused(ended, 2, "language")


def test_another_language_is_another_run(folder: Folder, tmp_path: Path) -> None:
    """A resume that asks for another row is refused; the run's own goes on."""
    run = tmp_path / "run"
    flags = (*folder.flags, "--language", "am")
    folder.trainer.stop(run, *flags, at=3)
    refused(
        folder.trainer.start(run, *folder.flags, "--language", "en"),
        3,
        "settings.language is 'en', was 'am'",
    )
    ended = folder.trainer.start(run, *flags)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--language", "yue"), "no token for it"),
        (("--language", "es"), "no training text is in it; they are in am"),
        (("--language", ""), "no token for it"),
        (("--init-language", "sw"), "published with"),
        (("--language", "Amharic"), "no token for it"),
    ],
)
def test_a_language_without_a_row_is_refused(
    folder: Folder, tmp_path: Path, more: tuple[str, str], said: str
) -> None:
    """Before anything is trained, with what to do."""
    refused(folder.trainer.start(tmp_path / "run", *folder.flags, *more), 2, said)
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_features_and_texts_of_2_0_are_refused(folder: Folder, tmp_path: Path) -> None:
    """Rows instead of a vector, and texts without a language: each by name."""
    rows = write_pairs(tmp_path / "rows", 44, vocabulary=250)
    named = tuple(each for each in folder.flags if each != "--train-manifest")
    place = named.index(next(each for each in named if "train_pairs" in str(each)))
    others = (*named[:place], *named[place + 1 :])
    ended = folder.trainer.start(tmp_path / "a", *others, "--train-manifest", rows)
    refused(ended, 2, "wrong shape")
    silent = write_data(tmp_path / "silent", folder.tokenizer, "am", "train", 44, before="ab ")
    ended = folder.trainer.start(tmp_path / "b", *others, "--train-manifest", silent)
    refused(ended, 2, "44 x text without a language token", "--front indextts-2.5")


def test_a_model_of_2_0_has_no_language(folder: Folder, tmp_path: Path) -> None:
    """The flags of the one are not taken silently by the other."""
    config = GptConfig.from_yaml(folder.trainer.root / "config.yaml")
    model = VoiceGpt(config, 40)
    model.initialise(3)
    base = tmp_path / "gpt.pth"
    write_gpt_pth(base, merge(model, fresh_untrained_encoders(config, 3)))
    ended = folder.trainer.start(
        tmp_path / "run", "--base-checkpoint", base, "--language", "am", "--max-steps", 1
    )
    refused(ended, 2, "no language table")
