"""What an old run suffered is told in numbers; frozen rows are the base's again if that is wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from support.earlier_curves import EarlierTrainer
from support.legacy_fixture import VOCABULARY, legacy_config
from support.old_run import OldRuns, old_content
from support.pairs import FIRST_WORD, word
from support.tiny_base import EXTENDED, PIECES, TinyBase, write_tiny_base
from support.tiny_trainer import (
    Ended,
    TinyTrainer,
    asked_to_stop,
    newest,
    run_program,
    write_tiny_trainer,
)
from support.tokenizer_files import write_pieces
from unbroken import find_checkpoint
from unbroken_tts.model.base import base_weights, read_base
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt_file import TEXT_TENSORS, is_trained
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders
from unbroken_tts.rescue.earlier_schedule import warmup_cosine_legacy
from unbroken_tts.rescue.old_checkpoint import Geometry, read_old
from unbroken_tts.rescue.old_directory import OldRun, find_best
from unbroken_tts.rescue.suffered import suffered
from unbroken_tts.train.load import load_weights

MOVING = 5
"""Base rows that Adam's momentum would still move."""


@dataclass(frozen=True)
class ExtendedRun:
    """An old run on an extended vocabulary: its base rows shrunk, as the earlier trainer let them."""

    trainer: TinyTrainer
    base: TinyBase
    place: Path
    moments: dict[str, tuple[torch.Tensor, torch.Tensor]]

    def start(self, output: Path, *words: object) -> Ended:
        """Take the run over into a directory, and stop after a step."""
        flags = (*self.base.flags, "--batch-size", 4, "--grad-accumulation", 2, "--max-steps", 40)
        rate = ("--learning-rate", "2e-3", "--schedule", "legacy")
        given = self.trainer.flags(output, *(str(each) for each in (*flags, *rate, *words)))
        with asked_to_stop(21):
            return run_program("rescue", self.place, *given)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> ExtendedRun:
    """Return it: 20 of 40 steps, with weight decay 0.01 on rows whose gradient was zero."""
    root = tmp_path_factory.mktemp("extended")
    trainer = write_tiny_trainer(root / "tiny")
    base = write_tiny_base(trainer, root / "base")
    config = GptConfig.from_yaml(trainer.root / "config.yaml")
    weights = read_base(base.gpt)
    draw = torch.Generator().manual_seed(3)
    state = {**fresh_untrained_encoders(config, 17), **weights.trained}
    for name in TEXT_TENSORS:
        new = torch.randn(EXTENDED + 1 - PIECES, *state[name].shape[1:], generator=draw)
        state[name] = torch.cat([0.999 * state[name][:PIECES], 0.02 * new])
    moments = {}
    for name, tensor in state.items():
        if is_trained(name):
            mean, square = (0.01 * torch.randn(tensor.shape, generator=draw) for _ in range(2))
            if name in TEXT_TENSORS:
                mean[:PIECES], square[:PIECES] = 0.0, 0.0
                mean[:MOVING] = 1e-3
            moments[name] = (mean, square.square())
    content = old_content(
        config, EXTENDED, state, moments, step=20, epoch=4, batch_idx=0, batch_size=4,
        grad_accumulation=2, rate=2e-3 * warmup_cosine_legacy(3, 40)(20), samples=44,
    )  # fmt: skip
    (root / "old").mkdir()
    torch.save(content, root / "old" / "latest.pth")
    return ExtendedRun(trainer, base, root / "old", moments)


def test_base_rows_are_compared_with_the_base(extended: ExtendedRun, tmp_path: Path) -> None:
    """How many moved and how far, what decay explains of it, and what momentum would still move."""
    ended = extended.start(tmp_path / "new")
    assert ended.code == 75, ended.err
    assert "base rows: 40 should be the base's" in ended.out
    for name in TEXT_TENSORS:
        assert f"{name}: 40 of 40 base rows moved, by 0.10% of their norm" in ended.out
    assert "which is 0.99900 of the base's" in ended.out
    left = math.prod(1 - 2e-3 * warmup_cosine_legacy(3, 40)(k) * 0.01 for k in range(20))
    assert f"weight decay alone makes {left:.5f} of their norm" in ended.out
    assert f"momentum would still move {MOVING} rows" in ended.out


def test_frozen_rows_stay_as_the_old_run_left_them(extended: ExtendedRun, tmp_path: Path) -> None:
    """Without the flag they are the file's to the bit, also after a step; new rows have its moments."""
    assert extended.start(tmp_path / "new").code == 75
    old = read_old(extended.place / "latest.pth")
    table = load_weights(tmp_path / "new").model.table()
    for name in TEXT_TENSORS:
        assert torch.equal(old.model[name][:PIECES], table[name][:PIECES])
    first = find_checkpoint(tmp_path / "new/checkpoints/step-00000020").part("optimizer")
    moments = extended.moments["text_embedding.weight"]
    for kind, moment in zip(("exp_avg", "exp_avg_sq"), moments, strict=True):
        found = first["state"]["model.text_embedding.extension"][kind]
        assert torch.equal(moment[PIECES:], found)


def test_base_rows_are_put_back_to_the_bit(extended: ExtendedRun, tmp_path: Path) -> None:
    """With the flag the frozen rows are those of gpt.pth; the trained ones are the file's."""
    assert extended.start(tmp_path / "new", "--restore-base-rows").code == 75
    base = read_base(extended.base.gpt).trained
    old = read_old(extended.place / "latest.pth").model
    table = load_weights(tmp_path / "new/checkpoints/step-00000020").model.table()
    for name in TEXT_TENSORS:
        assert torch.equal(base[name][:PIECES], table[name][:PIECES])
        assert torch.equal(old[name][PIECES:], table[name][PIECES:])
    assert newest(tmp_path / "new").facts()["rescued"]["restored_base_rows"] is True


def test_rows_of_a_tokenizer_of_its_own_are_neither_frozen_nor_put_back(
    extended: ExtendedRun, tmp_path: Path
) -> None:
    """Ids of another tokenizer stand for other pieces: what was trained would be lost."""
    turned = [f"\u2581{word(token)}" for token in range(PIECES - 1, FIRST_WORD - 1, -1)]
    words = ("--base-tokenizer", write_pieces(tmp_path / "base.model", turned))
    ended = extended.start(tmp_path / "new", *words)
    assert ended.code == 75, ended.err
    assert "is no extension of the base's tokenizer" in ended.out
    facts = newest(tmp_path / "new").facts()
    assert (0, False) == (facts["frozen_rows"], facts["base_rows"]["is_extension"])
    ended = extended.start(tmp_path / "other", *words, "--restore-base-rows")
    assert ended.code == 2
    assert "what was trained" in ended.err


def test_there_must_be_rows_to_put_back(old_runs: OldRuns, tmp_path: Path) -> None:
    """Where the vocabulary is the base's, every row was trained: nothing is thrown away."""
    old_runs.write(tmp_path / "latest.pth")
    ended = old_runs.start("rescue", tmp_path, "--restore-base-rows")
    assert ended.code == 2, ended.err
    assert "no row of the text tables is frozen" in ended.err
    assert not (tmp_path / "run.json").exists()


def _run(place: Path) -> OldRun:
    return find_best(place, legacy_config(), VOCABULARY)


def _told(run: OldRun, cut: Geometry | None = None, curve: tuple[int, int] = (4, 38)) -> str:
    cut = cut or Geometry(batch=4, accumulation=3)
    return "\n".join(suffered(run, cut, 114, curve, None, 0))


def test_a_jump_of_the_rate_between_files_is_told(old_runs: OldRuns, tmp_path: Path) -> None:
    """Each file off the curve is named, with both rates and the size of the jump."""
    old_runs.write(tmp_path / "latest.pth")
    old_runs.write(
        tmp_path / "model_step16.pth",
        lambda c: c["scheduler"].update(_last_lr=[1.8e-3]),
        name="legacy_midaccum/latest.pth",
    )
    told = _told(_run(tmp_path))
    assert "learning rate: 1 of 2 files on the curve with warm-up 4 and 38 steps" in told
    assert "model_step16.pth, step 16: 0.0018, the curve has 0.001446 (a jump by 24.5%)" in told


def test_a_change_of_the_batch_is_told(old_runs: OldRuns, tmp_path: Path) -> None:
    """The counters of a file that was cut otherwise don't follow from the last cut."""
    old_runs.write(tmp_path / "latest.pth")
    old_runs.write(tmp_path / "model_step16.pth", name="legacy_midaccum/latest.pth")
    assert "model_step16.pth stands at step 16; 4 x 3 over 114 samples would be step 13" in _told(
        _run(tmp_path)
    )
    (tmp_path / "model_step16.pth").unlink()
    assert "batch size: 4 x 3 throughout" in _told(_run(tmp_path))


def test_epochs_in_manifest_order_are_counted(old_runs: OldRuns, tmp_path: Path) -> None:
    """Each start but the first that began inside an epoch trained its rest in manifest order."""
    old_runs.write(tmp_path / "latest.pth")
    assert "epochs in manifest order: unknown" in _told(_run(tmp_path))
    earlier = EarlierTrainer(tmp_path, interval=1)
    for first, last in ((1, 8), (10, 18), (15, 20), (17, 24)):
        earlier.start(first, last)
    told = _told(_run(tmp_path))
    assert "epochs in manifest order: 4 starts seen, 2 resumed inside an epoch" in told
    assert (
        "first logged step 15: the last 54 lines of the manifest were trained as the rest of epoch 2"
        in told
    )
    assert "about 28 of them a second time" in told


def test_files_that_cannot_be_read_are_counted(old_runs: OldRuns, tmp_path: Path) -> None:
    """Truncated siblings are named with the reason, also where the newest is whole."""
    whole = old_runs.write(tmp_path / "latest.pth").read_bytes()
    (tmp_path / "model_step8.pth").write_bytes(whole[:1000])
    told = _told(_run(tmp_path))
    assert "files: 2 found, 1 skipped" in told
    assert f"skipped: {tmp_path / 'model_step8.pth'} is truncated" in told


def test_updates_that_were_skipped_are_told(old_runs: OldRuns, tmp_path: Path) -> None:
    """The optimiser's own counters may be behind those of the run, and are kept as they are."""

    def behind(content: dict[str, dict[str, dict[int, dict[str, torch.Tensor]]]]) -> None:
        for each in content["optimizer"]["state"].values():
            each["step"] = torch.tensor(22.0)

    old_runs.write(tmp_path / "latest.pth", behind)
    assert "counters: step 24, schedule 24, optimiser 22 to 22" in _told(_run(tmp_path))
    for stop in (25, 26):  # taken over, and resumed once more
        with asked_to_stop(stop):
            ended = old_runs.start("rescue", tmp_path)
        assert ended.code == 75, ended.err
    saved = newest(tmp_path).part("optimizer")["state"]
    assert {each["step"].item() for each in saved.values()} == {24.0}


def test_the_base_of_another_shape_is_not_compared(old_runs: OldRuns, tmp_path: Path) -> None:
    """It is said, and costs nothing."""
    old_runs.write(tmp_path / "latest.pth")
    run = _run(tmp_path)
    state = {**run.best.weights.trained, **run.best.weights.untrained_encoders}
    state["text_embedding.weight"] = torch.zeros(301, 8)
    base = base_weights(state, origin="other.pth")
    told = suffered(run, Geometry(batch=4, accumulation=3), 114, (4, 38), base, 0)
    assert "base rows: not compared; other.pth has text tables of another shape" in told
