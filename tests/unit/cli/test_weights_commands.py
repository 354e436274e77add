"""`unbroken-tts evaluate` and `export` on weights files, through the program's own entry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from support.pairs import write_pairs
from support.tiny_model import tiny_config, tiny_model
from unbroken_tts.cli.main import main
from unbroken_tts.export import merge, write_gpt_pth
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with config.yaml, gpt.pth and val_pairs.jsonl that belong together."""
    path = tmp_path_factory.mktemp("weights")
    config: GptConfig = tiny_config()
    config.to_yaml(path / "config.yaml")
    model = tiny_model(config)
    write_gpt_pth(path / "gpt.pth", merge(model, fresh_untrained_encoders(config, seed=3)))
    write_pairs(
        path,
        7,
        split="val",
        vocabulary=model.vocabulary,
        codes=config.start_mel_token,
        model_dim=config.model_dim,
        condition_rows=config.condition_num_latent,
    )
    return path


def evaluate(folder: Path, *words: str) -> int:
    files = ["--config", str(folder / "config.yaml"), "--manifest", str(folder / "val_pairs.jsonl")]
    return main(["evaluate", str(folder / "gpt.pth"), *files, *words])


def test_evaluate_does_not_depend_on_the_batch(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One at a time or all at once: the same token-weighted losses, to rounding."""
    found = []
    for size in ("1", "7"):
        assert 0 == evaluate(folder, "--json", "--batch-size", size)
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == pytest.approx(found[1], rel=1e-5)  # float32 sums in another order
    assert 7 == found[0]["samples"]


def test_evaluate_shows_each_sample(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--per-sample` is a line a sample, and the totals after them."""
    assert 0 == evaluate(folder, "--per-sample")
    lines = capsys.readouterr().out.splitlines()
    assert 8 == len(lines)
    assert all(line.startswith("text_loss=") for line in lines)
    assert "samples=7" in lines[-1]


def test_evaluate_lists_bad_samples(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest whose arrays are gone is refused with its faults before anything runs."""
    manifest = tmp_path / "val_pairs.jsonl"
    manifest.write_bytes((folder / "val_pairs.jsonl").read_bytes())
    files = ["--config", str(folder / "config.yaml"), "--manifest", str(manifest)]
    assert 2 == main(["evaluate", str(folder / "gpt.pth"), *files])
    assert "val_pairs.jsonl" in capsys.readouterr().err


def test_evaluate_leaves_nothing_behind(folder: Path) -> None:
    """Measuring writes no file beside what it measures."""
    before = sorted(folder.rglob("*"))
    assert 0 == evaluate(folder)
    assert before == sorted(folder.rglob("*"))


def test_export_writes_the_same_tensors_again(folder: Path, tmp_path: Path) -> None:
    """A weights file goes through bit for bit, in the same order, as plain tensors."""
    target = tmp_path / "out.pth"
    config = ["--config", str(folder / "config.yaml")]
    assert 0 == main(["export", str(folder / "gpt.pth"), str(target), *config])
    expected = torch.load(folder / "gpt.pth", weights_only=True)
    found = torch.load(target, weights_only=True)
    assert list(expected) == list(found)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_export_overwrites_only_when_asked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is there is kept, exit code 2; --force replaces it."""
    target = tmp_path / "out.pth"
    target.write_bytes(b"mine")
    words = ["export", str(folder / "gpt.pth"), str(target)]
    config = ["--config", str(folder / "config.yaml")]
    assert 2 == main([*words, *config])
    assert b"mine" == target.read_bytes()
    assert "--force" in capsys.readouterr().err
    assert 0 == main([*words, *config, "--force"])
    assert b"mine" != target.read_bytes()


def test_export_says_where_it_cannot_write(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in the way of the directory is a mistake of the command, not a bug."""
    (tmp_path / "file").write_bytes(b"mine")
    words = ["export", str(folder / "gpt.pth"), str(tmp_path / "file/gpt.pth")]
    assert 2 == main([*words, "--config", str(folder / "config.yaml")])
    assert "can't be written" in capsys.readouterr().err
    assert b"mine" == (tmp_path / "file").read_bytes()


def _adapted(folder: Path, place: Path) -> Path:
    """Write the weights as a compiled model in half precision with a LoRA adapter in one layer."""
    place.mkdir()
    state = torch.load(folder / "gpt.pth", weights_only=True)
    layer = "gpt.h.0.mlp.c_fc"
    state = {n.replace(layer, f"{layer}.base_layer"): t.half() for n, t in state.items()}
    state[f"{layer}.lora_A.default.weight"] = torch.ones(2, 12)
    state[f"{layer}.lora_B.default.weight"] = torch.ones(48, 2)
    content = {"state_dict": {f"_orig_mod.{n}": t for n, t in state.items()}, "epoch": 3}
    torch.save(content, place / "last.ckpt")
    return place / "last.ckpt"


def test_every_command_takes_weights_in_other_forms(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Remarks go to the error output, and the file that is written has the merged weights."""
    source, target = _adapted(folder, tmp_path / "adapted"), tmp_path / "gpt.pth"
    config = ["--config", str(folder / "config.yaml")]
    assert 2 == main(["export", str(source), str(target), *config])
    assert "--adapter-alpha" in capsys.readouterr().err
    assert not target.exists()
    assert 0 == main(["export", str(source), str(target), *config, "--adapter-alpha", "3"])
    said = capsys.readouterr()
    assert 1 == len(said.out.splitlines())
    for remark in ("beside the weights: epoch", "float16 read as float32", "merged the LoRA"):
        assert remark in said.err
    before = torch.load(folder / "gpt.pth", weights_only=True)
    written = torch.load(target, weights_only=True)
    name = "gpt.h.0.mlp.c_fc.weight"
    # alpha 3 over rank 2, times 2 ones in each product
    torch.testing.assert_close(before[name].half().float() + 3, written[name])
    assert torch.equal(before["mel_head.weight"].half().float(), written["mel_head.weight"])
    say = ["say", str(source), str(tmp_path / "a.wav"), "--text", "a", "--speaker", "b", *config]
    assert 2 == main(say)
    assert "--adapter-alpha" in capsys.readouterr().err
    assert 2 == main([*say, "--adapter-alpha", "3"])
    assert "No tokenizer is known" in capsys.readouterr().err  # the weights were read
    manifest = ["--manifest", str(folder / "val_pairs.jsonl")]
    words = ["evaluate", str(source), *config, *manifest, "--adapter-alpha", "3", "--json"]
    assert 0 == main(words)
    found = json.loads(capsys.readouterr().out)
    assert 0 == main(["evaluate", str(target), *config, *manifest, "--json"])
    assert found == json.loads(capsys.readouterr().out)
