"""`unbroken-tts inspect`: what a file of weights or a run contains."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from support.published_config import published_config
from support.tiny_base import EXTENDED, PIECES, TinyBase, write_tiny_base
from support.tiny_model import VOCABULARY, tiny_config, tiny_model
from support.tiny_trainer import TinyTrainer, write_tiny_trainer
from unbroken_tts.cli.main import main
from unbroken_tts.export import merge
from unbroken_tts.inspection import Count, Inspection, inspect_path
from unbroken_tts.model.families import config_from_shapes, family_of
from unbroken_tts.model.gpt_file import gpt_file_shapes, is_trained
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders

ROOT = Path(__file__).parents[2]
STATE = merge(tiny_model(seed=8), fresh_untrained_encoders(tiny_config(), seed=9))
SPEAKER_VECTORS = {"spk_cond_mode": "campplus", "language_rows": 107, "speed_rows": False}
REAL = published_config()


def _saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def _sparse_file(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """Write a safetensors file of float32 zeros that takes no room on the disk."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


def test_a_file_of_the_full_size_is_known_by_its_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Family, version, counts and memory of the published model; 3.5 GB are mapped, not loaded."""
    monkeypatch.setattr("unbroken_tts.inspection.file.not_finite", lambda _: {})  # reads every byte
    shapes = gpt_file_shapes(REAL, 12_000)
    found = inspect_path(_sparse_file(tmp_path / "gpt.safetensors", shapes))
    assert ("IndexTTS2 2.0", True, []) == (found.family, found.is_supported, found.faults)
    assert (12_000, 8194) == (found.vocabulary, found.mel_codes)
    # 527,083,235 values in 301 tensors: counted in the original (`CONTRACT.md`, section 8).
    assert Count(tensors=301, numbers=527_083_235, bytes=4 * 527_083_235) == found.trained
    assert Count(tensors=364, numbers=344_017_404, bytes=4 * 344_017_404) == found.carried
    assert {"float32": 665} == found.precision
    assert 527_083_235 * 16 == found.memory["fp32"]["card"]
    assert found.memory["bf16"]["card"] > found.memory["fp32"]["card"]
    assert 527_083_235 * 28 == found.memory["fp32"]["processor"]
    monkeypatch.chdir(tmp_path)
    assert 0 == main(["inspect", "gpt.safetensors"])
    page = (ROOT / "docs" / "indextts2.md").read_text("utf-8")
    assert f"$ unbroken-tts inspect gpt.safetensors\n{capsys.readouterr().out}```" in page


def _shapes_of_version(name: str) -> dict[str, tuple[int, ...]]:
    shapes = dict(gpt_file_shapes(REAL, 12_000))
    if name == "IndexTTS-2.5":
        shapes = gpt_file_shapes(REAL.model_copy(update=SPEAKER_VECTORS), 60_509)
    elif name.startswith("IndexTTS 1"):
        shapes = {n: s for n, s in shapes.items() if not n.startswith(("emo", "speed"))}
        is_first = name == "IndexTTS 1.0"
        shapes["mel_pos_embedding.emb.weight"] = (608 if is_first else 803, 1280)
        if is_first:
            shapes = {
                n: tuple(1024 if each == 1280 else each for each in s)
                for n, s in shapes.items()
                if not n.startswith(("gpt.h.20.", "gpt.h.21.", "gpt.h.22.", "gpt.h.23."))
            }
            shapes["text_pos_embedding.emb.weight"] = (404, 1024)
    return shapes


@pytest.mark.parametrize("name", ["IndexTTS2 2.0", "IndexTTS-2.5", "IndexTTS 1.0", "IndexTTS 1.5"])
def test_every_version_is_told_from_the_others(name: str) -> None:
    """By which tensors it has, and their sizes."""
    found = family_of(_shapes_of_version(name))
    assert found is not None
    assert name == found.name


def test_shapes_tell_the_configuration_they_belong_to() -> None:
    """Inferred from the shapes alone, it makes the very same shapes."""
    with_vectors = REAL.model_copy(update=SPEAKER_VECTORS)
    for config in (REAL, with_vectors, tiny_config(), tiny_config(speed_rows=False, layers=3)):
        shapes = gpt_file_shapes(config, 30)
        inferred = config_from_shapes(shapes)
        assert inferred is not None
        assert shapes == gpt_file_shapes(inferred, 30)
        assert config.takes_speaker_vectors == inferred.takes_speaker_vectors


def test_what_is_missing_surplus_or_damaged_is_told(tmp_path: Path) -> None:
    """A file that can't be trained is shown with its faults instead of being refused."""
    state = {name: tensor.clone() for name, tensor in STATE.items()}
    del state["emo_layer.bias"]
    state["other.weight"] = torch.ones(3)
    state["final_norm.weight"] = torch.ones(5)
    state["mel_head.weight"][3, :2] = math.nan
    state["mel_head.bias"] = torch.ones(34, dtype=torch.int8)
    found = inspect_path(_saved(tmp_path / "gpt.pth", state))
    assert not found.is_supported
    faults = "; ".join(found.faults)
    assert all(
        said in faults
        for said in ("missing: emo_layer.bias", "surplus: other", "final_norm", "quantised")
    )
    assert {"mel_head.weight": 2} == found.not_finite


def test_a_training_checkpoint_has_its_position_and_form(tmp_path: Path) -> None:
    """Container, prefixes, what lies beside the weights, and where the training stood."""
    content = {
        "model": {f"module.{name}": tensor.half() for name, tensor in STATE.items()},
        **dict.fromkeys(("optimizer", "scheduler", "scaler")),
        "epoch": 2,
        "step": 24,
        "batch_idx": 18,
    }
    found = inspect_path(_saved(tmp_path / "latest.pth", content))
    assert {"epoch": 2, "step": 24, "batch_idx": 18} == found.position
    assert ("model", {"module.": len(STATE)}) == (found.entry, found.removed)
    assert "earlier trainer" in found.kind
    assert {"float16": len(STATE)} == found.precision
    assert {"beside the weights"} == found.left_out.keys()
    assert found == inspect_path(tmp_path)  # the directory of such a run


def test_names_can_not_command_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in a foreign name are shown as what they are."""
    path = _saved(tmp_path / "gpt.pth", {"model": STATE, "\x1b[2J": 1})
    assert 0 == main(["inspect", str(path)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[2J" in out


def test_something_else_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of tensors that is no such model is described, not refused."""
    path = _saved(tmp_path / "stats.pt", {"mean": torch.ones(4), "var": torch.ones(4)})
    assert 0 == main(["inspect", str(path)])
    assert "unknown: 2 tensors (mean, var)" in capsys.readouterr().out


def test_a_directory_without_anything_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4, and what could be named."""
    assert 4 == main(["inspect", str(tmp_path)])
    assert "nothing to inspect" in capsys.readouterr().err


def test_a_file_that_can_not_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 for what is missing or no file of weights."""
    assert 2 == main(["inspect", str(tmp_path / "none.pth")])
    (tmp_path / "text.pth").write_text("hello", "utf-8")
    assert 2 == main(["inspect", str(tmp_path / "text.pth")])
    assert "not a PyTorch archive" in capsys.readouterr().err


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> TinyTrainer:
    return write_tiny_trainer(tmp_path_factory.mktemp("trainer"))


@pytest.fixture(scope="module")
def base(trainer: TinyTrainer) -> TinyBase:
    return write_tiny_base(trainer, trainer.root / "base")


@pytest.fixture(scope="module")
def run(trainer: TinyTrainer, base: TinyBase) -> Path:
    """Return a run of three steps with frozen base rows, from a file of half precision."""
    content = torch.load(base.gpt, weights_only=True)
    average = {name: tensor + 1 for name, tensor in content.items()}
    half = {name: tensor.half() for name, tensor in content.items()}
    path = _saved(trainer.root / "half.pth", {"model": half, "ema_model": average})
    flags = [*base.flags, "--max-steps", 3, "--base-checkpoint", path]
    refused = trainer.start(trainer.root / "run", *flags)
    assert (2, True) == (refused.code, "--weights-entry" in refused.err)
    done = trainer.start(trainer.root / "run", *flags, "--weights-entry", "model")
    assert 0 == done.code, done.err
    notes = done.lines("NOTE: ")
    assert any("float16 read as float32" in line for line in notes)
    assert any("other sets of weights (model is used): ema_model" in line for line in notes)
    return trainer.root / "run"


def test_a_run_is_inspected_without_its_configuration(run: Path) -> None:
    """Trained, frozen and carried tensors, position, base and precision of its newest checkpoint."""
    found = inspect_path(run)
    config = config_from_shapes({})
    assert config is None
    assert ("checkpoint of a run", True, []) == (found.kind, found.is_supported, found.faults)
    assert {"epoch": 0, "step": 3, "updates": 3, "samples": 0} == found.position
    assert (EXTENDED, PIECES) == (found.vocabulary, found.frozen_rows)
    assert PIECES * (2 * 16 + 1) == found.frozen.numbers
    gpt = torch.load(run.parent / "half.pth", weights_only=True)["model"]
    carried = [each for name, each in gpt.items() if not is_trained(name)]
    assert (len(carried), sum(each.numel() for each in carried)) == (
        found.carried.tensors,
        found.carried.numbers,
    )
    needed = found.trained.numbers * 16 + found.frozen.numbers * 4
    assert needed == found.memory["fp32"]["card"]
    assert ("fp32", False) == (found.facts["computes_in"], found.facts["average"])
    assert found == inspect_path(run / "checkpoints" / "step-00000003")


def test_the_lines_and_the_json_say_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per fact for people; every field for programs."""
    assert 0 == main(["inspect", str(run)])
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert 0 == main(["inspect", str(run), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert set(Inspection.__dataclass_fields__) == set(document)
    assert f"{document['trained']['numbers']:,}" in lines["Trained"]
    assert "40 text rows" in lines["Frozen"]
    assert "step 3" in lines["Position"]
    assert {"Memory fp32", "Memory bf16", "Memory fp16", "Finite"} <= lines.keys()


def test_the_same_command_goes_on(trainer: TinyTrainer, base: TinyBase, run: Path) -> None:
    """What was said of the file doesn't stand in the way of a resume."""
    flags = [*base.flags, "--max-steps", 3, "--base-checkpoint", run.parent / "half.pth"]
    again = trainer.start(run, *flags, "--weights-entry", "model")
    assert (0, 1) == (again.code, len(again.lines("Nothing to train"))), again.err


def test_weights_are_refused_before_the_data_are_checked(
    trainer: TinyTrainer, base: TinyBase, tmp_path: Path
) -> None:
    """Nobody waits for the check of 200 hours to hear that the base is of another family."""
    state = torch.load(base.gpt, weights_only=True)
    state = {name: each for name, each in state.items() if not name.startswith("emo")}
    path = _saved(tmp_path / "gpt.pth", state)
    ended = trainer.start(tmp_path / "run", *base.flags, "--base-checkpoint", path)
    assert (2, []) == (ended.code, ended.lines("Data (train)"))
    assert "IndexTTS 1" in ended.err


def test_a_small_file_that_claims_a_large_model_is_told(tmp_path: Path) -> None:
    """A view of one value, repeated a trillion times, is neither read nor trained."""
    state = {**STATE, "mel_head.weight": torch.ones(1).expand(10**6, 10**6)}
    found = inspect_path(_saved(tmp_path / "a.pth", state))
    assert any("fewer values than they claim: mel_head.weight" in each for each in found.faults)


def test_a_tensor_without_dimensions_is_no_model(tmp_path: Path) -> None:
    """A crafted file with numbers where tables belong is described, not a crash."""
    names = ("text_embedding.weight", "mel_embedding.weight", "mel_head.weight")
    found = inspect_path(_saved(tmp_path / "a.pth", dict.fromkeys(names, torch.tensor(1.0))))
    assert found.family.startswith("unknown")
    assert not found.is_supported


def test_what_is_said_of_a_file_is_refused_for_a_run(
    run: Path, base: TinyBase, capsys: pytest.CaptureFixture[str]
) -> None:
    """--adapter-alpha of a directory would be ignored; it is refused."""
    manifest = str(base.data / "val_pairs.jsonl")
    words = ["evaluate", str(run), "--manifest", manifest, "--adapter-alpha", "3"]
    assert 2 == main(words)
    assert "is a directory, not a file of weights" in capsys.readouterr().err
    words = ["evaluate", str(base.gpt), "--manifest", manifest, "--adapter-alpha", "-3"]
    assert 2 == main(words)
    assert "--adapter-alpha is -3" in capsys.readouterr().err


def test_vocabulary_is_the_number_of_pieces(tmp_path: Path) -> None:
    """The spare row of the tables is not counted."""
    assert VOCABULARY == inspect_path(_saved(tmp_path / "gpt.pth", STATE)).vocabulary
