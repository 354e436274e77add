"""Before a row is frozen, it is proved to be the base's."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from support.pairs import FIRST_WORD, word, write_tokenizer
from support.tiny_base import EXTENDED, PIECES, TinyBase, write_tiny_base
from support.tiny_trainer import TinyTrainer, newest, run_program
from support.tokenizer_files import write_pieces
from unbroken.errors import SettingsInvalid
from unbroken_tts.data.open_tokenizer import open_tokenizer
from unbroken_tts.model.base import read_base
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt_file import TEXT_TENSORS
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.initial_weights import InitialWeights, new_model

WORDS = [f"\u2581{word(token)}" for token in range(FIRST_WORD, EXTENDED)]
"""The pieces of the extended tokenizer after the three special ones."""


@dataclass(frozen=True)
class Place:
    """A base checkpoint in a directory of its own, with its configuration and its tokenizer."""

    base: TinyBase
    trainer: TinyTrainer

    @property
    def root(self) -> Path:
        """Return the directory."""
        return self.base.gpt.parent

    def begin(self, tokenizer: Path, **more: Any) -> InitialWeights:
        """Build the model of a new run with a tokenizer."""
        settings = TrainSettings.model_validate(
            {
                "train_manifest": ("a",),
                "val_manifest": ("b",),
                "tokenizer": tokenizer,
                "base_checkpoint": str(self.base.gpt),
                "config": self.trainer.root / "config.yaml",
                **more,
            }
        )
        config = GptConfig.from_yaml(self.trainer.root / "config.yaml")
        return new_model(settings, config, open_tokenizer(tokenizer))

    def table(self, name: str) -> torch.Tensor:
        """Return a text table of the base."""
        return read_base(self.base.gpt).trained[name]


@pytest.fixture(scope="module")
def place(trainer: TinyTrainer, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a base with its tokenizer beside it."""
    root = tmp_path_factory.mktemp("place")
    base = write_tiny_base(trainer, root)
    write_tokenizer(root / "base.model", PIECES)
    document = yaml.safe_load((trainer.root / "config.yaml").read_text("utf-8"))
    document["dataset"] = {"bpe_model": "base.model"}
    (root / "config.yaml").write_text(yaml.safe_dump(document), "utf-8")
    return Place(base, trainer)


def test_an_extension_is_proved_by_the_tokenizer_beside_the_base(place: Place) -> None:
    """All rows of the base are frozen, and the facts say what was proved."""
    begun = place.begin(place.base.tokenizer)
    assert PIECES == begun.model.frozen_rows
    assert begun.base_rows is not None
    assert begun.base_rows["proved"]
    assert begun.base_rows["is_extension"]
    assert (PIECES, EXTENDED - PIECES) == (begun.base_rows["same"], begun.base_rows["new"])
    assert "extends the tokenizer of the base" in begun.lines[0]
    for name in TEXT_TENSORS:
        assert torch.equal(place.table(name)[:PIECES], begun.model.table()[name][:PIECES])


@pytest.mark.parametrize("size", [PIECES, 30, EXTENDED])
def test_a_tokenizer_of_its_own_takes_rows_by_spelling(
    place: Place, tmp_path: Path, size: int
) -> None:
    """Of any size: known pieces take the base's rows, others are new, and nothing is frozen."""
    own = [*WORDS[::-1][: size - 4], "\u2581other"]
    begun = place.begin(write_pieces(tmp_path / "own.model", own))
    assert 0 == begun.model.frozen_rows
    assert begun.base_rows is not None
    assert not begun.base_rows["is_extension"]
    assert 0 == begun.base_rows["frozen"]
    assert "is no extension of" in begun.lines[0]
    assert "nothing is frozen" in begun.lines[0]
    for name in TEXT_TENSORS:
        old, new = place.table(name), begun.model.table()[name]
        mean = old[:PIECES].double().mean(0).float()
        for number, piece in enumerate(own, start=FIRST_WORD):
            at = WORDS.index(piece) + FIRST_WORD if piece in WORDS else PIECES
            assert torch.equal(new[number], old[at] if at < PIECES else mean), (name, piece)


def test_another_kind_of_piece_is_another_piece(place: Place, tmp_path: Path) -> None:
    """One id of another kind, and the tokenizer is no extension."""
    own: list[str | tuple[str, str]] = [*WORDS]
    own[5] = (WORDS[5], "USER_DEFINED")
    begun = place.begin(write_pieces(tmp_path / "own.model", own, kind="WORD"))
    assert 0 == begun.model.frozen_rows
    assert "is of the kind user_defined, in the base normal" in begun.lines[0]


def test_without_the_tokenizer_of_the_base_it_is_said_that_nothing_is_proved(
    place: Place, trainer: TinyTrainer, tmp_path: Path
) -> None:
    """Training goes on as ever, with a warning that names the flag."""
    alone = tmp_path / "gpt.pth"
    shutil.copy(place.base.gpt, alone)
    begun = place.begin(place.base.tokenizer, base_checkpoint=str(alone))
    assert PIECES == begun.model.frozen_rows
    assert {"proved": False, "frozen": PIECES} == begun.base_rows
    assert begun.lines[0].startswith("WARNING: no tokenizer with the 40 pieces of")
    assert "--base-tokenizer" in begun.lines[0]


def test_a_tokenizer_beside_the_base_that_is_not_its_own_proves_nothing(
    place: Place, tmp_path: Path
) -> None:
    """Such as the extended one, put in the place of the base's; it is named."""
    shutil.copytree(place.root, tmp_path / "copy")
    shutil.copy(place.base.tokenizer, tmp_path / "copy/base.model")
    gpt = tmp_path / "copy/gpt.pth"
    begun = place.begin(place.base.tokenizer, base_checkpoint=str(gpt))
    assert begun.base_rows == {"proved": False, "frozen": PIECES}
    assert f"has {EXTENDED} pieces" in begun.lines[0]
    (tmp_path / "copy/base.model").write_bytes(b"no model")
    assert (
        "is not a SentencePiece model"
        in place.begin(place.base.tokenizer, base_checkpoint=str(gpt)).lines[0]
    )


def test_a_named_tokenizer_counts_and_must_be_the_base_s(place: Place, tmp_path: Path) -> None:
    """It goes before what lies beside; another size is exit code 2."""
    named = write_pieces(tmp_path / "named.model", WORDS[::-1][-PIECES + 3 :], kind="WORD")
    begun = place.begin(place.base.tokenizer, base_tokenizer=named)
    assert begun.base_rows is not None
    assert not begun.base_rows["is_extension"]
    with pytest.raises(SettingsInvalid, match=r"has 52 pieces, the base .* rows for 40"):
        place.begin(place.base.tokenizer, base_tokenizer=place.base.tokenizer)


def test_new_rows_may_start_from_the_pieces_that_spelt_them(
    trainer: TinyTrainer, place: Place, tmp_path: Path
) -> None:
    """Their mean; without any it is the mean of the base."""
    old = ["\u2581", "A", "B", *(f"X{number}" for number in range(PIECES - 6))]
    base = write_pieces(tmp_path / "old.model", old)
    new = write_pieces(tmp_path / "new.model", [*old, "ABB", "ሰ"])
    begun = place.begin(new, base_tokenizer=base, new_rows="pieces")
    assert PIECES == begun.model.frozen_rows
    for name in TEXT_TENSORS:
        table, found = place.table(name), begun.model.table()[name]
        assert torch.equal(found[PIECES], table[[4, 5, 5]].double().mean(0).float())
        assert torch.equal(found[PIECES + 1], table[:PIECES].double().mean(0).float())


def test_a_run_and_its_resume(place: Place, trainer: TinyTrainer, tmp_path: Path) -> None:
    """The run records the proof; a resume needs neither the base nor its tokenizer again."""
    shutil.copytree(place.root, tmp_path / "base")
    flags = [*place.base.flags, "--max-steps", 2]
    flags[flags.index(place.base.gpt)] = tmp_path / "base/gpt.pth"
    ended = trainer.start(tmp_path / "run", *flags)
    assert ended.code == 0, ended.err
    assert any("extends the tokenizer of the base" in line for line in ended.lines("NOTE"))
    before = newest(tmp_path / "run").facts()["base_rows"]
    shutil.rmtree(tmp_path / "base")
    flags[flags.index(2)] = 4
    resumed = trainer.start(tmp_path / "run", *flags, "--accept", "settings-unchanged")
    assert resumed.code == 0, resumed.err
    assert not resumed.lines("WARNING")
    assert before == newest(tmp_path / "run").facts()["base_rows"]


def test_weights_of_a_run_are_proved_by_the_tokenizer_of_the_run(
    place: Place, trainer: TinyTrainer, tmp_path: Path
) -> None:
    """It is the same one, or lies where it lay."""
    assert trainer.start(tmp_path / "run", *place.base.flags, "--max-steps", 1).code == 0
    begun = place.begin(place.base.tokenizer, init_from=tmp_path / "run")
    assert begun.base_rows is not None
    assert begun.base_rows["proved"]
    assert PIECES == begun.model.frozen_rows
    moved = write_pieces(tmp_path / "own.model", WORDS[::-1], kind="WORD")
    begun = place.begin(moved, init_from=tmp_path / "run")
    assert 0 == begun.model.frozen_rows
    assert begun.base_rows is not None
    assert EXTENDED == begun.base_rows["by_spelling"]


@pytest.mark.parametrize("number", [0, 1])
def test_start_and_stop_within_a_text_are_a_fault(
    place: Place, trainer: TinyTrainer, tmp_path: Path, number: int
) -> None:
    """With another tokenizer's ids `<unk>` may be 0: the text would start anew in its middle."""
    shutil.copytree(place.base.data, tmp_path / "data")
    path = min((tmp_path / "data").rglob("*text*/*.npy"))
    ids = np.load(path)
    ids[1] = number
    np.save(path, ids)
    flags = [*place.base.flags, "--max-steps", 1]
    flags[flags.index(place.base.data / "train_pairs.jsonl")] = tmp_path / "data/train_pairs.jsonl"
    ended = trainer.start(tmp_path / "run", *flags)
    assert ended.code == 2
    assert "start or stop id within a text" in ended.err
    assert f"contains the id {number}" in ended.err


def test_the_command_for_a_grown_tokenizer_does_not_name_the_old_base_s(
    place: Place, trainer: TinyTrainer, tmp_path: Path
) -> None:
    """The weights are then the run's, and so is the tokenizer that proves their rows."""
    named = ("--base-tokenizer", place.root / "base.model")
    assert trainer.start(tmp_path / "run", *place.base.flags, *named, "--max-steps", 1).code == 0
    larger = write_tokenizer(tmp_path / "larger.model", EXTENDED + 3)
    flags = [*place.base.flags, *named, "--max-steps", 1]
    flags[flags.index(place.base.tokenizer)] = larger
    ended = trainer.start(tmp_path / "run", *flags)
    assert ended.code == 3, ended.err
    command = next(line for line in ended.err.splitlines() if "--init-from" in line)
    assert "--base-tokenizer" not in command
    began = run_program(*shlex.split(command)[1:])
    assert began.code == 0, began.err
    assert not began.lines("WARNING")
