from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from support.indextts25_folder import gpt_tensors, opened
from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.cli.main import main
from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.indextts import find_files


def linked(folder: Path, root: Path) -> None:
    """Make a copy of a folder, whose files are links until they are replaced."""
    shutil.copytree(folder, root, copy_function=os.link)


def _without(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def _with(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / name).unlink()
        (root / name).write_bytes(content)

    return spoil


def _changed(
    name: str, change: Callable[[dict[str, torch.Tensor]], object]
) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        content = torch.load(root / name, weights_only=True)
        change(content.get("model", content))
        (root / name).unlink()
        torch.save(content, root / name)

    return spoil


def _other_sizes(root: Path) -> None:
    document = yaml.safe_load((root / "config.yaml").read_text("utf-8"))
    document["semantic_codec"] |= {"vocos_num_layers": 3, "downsample_scale": 4}
    (root / "config.yaml").unlink()
    (root / "config.yaml").write_text(yaml.safe_dump(document), "utf-8")


def _another_width(root: Path) -> None:
    config = GptConfig.from_yaml(root / "config.yaml").model_copy(update={"model_dim": 24})
    (root / "gpt.pth").unlink()
    torch.save(gpt_tensors(config, 300, torch.Generator().manual_seed(1)), root / "gpt.pth")


SPEAKER = "hf_cache/campplus_cn_common.bin"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_without("codec.pth"), r"codec\.pth \(if it is elsewhere, name the file with --semantic"),
        (_without("gpt.pth"), "1 files of IndexTTS2 are missing"),
        (_without(SPEAKER), r"campplus_cn_common\.bin \(of funasr/campplus\)"),
        (_with("codec.pth", b""), r"codec\.pth is not a PyTorch archive"),
        (_with("codec.pth", b"PK\x03\x04"), r"codec\.pth is damaged"),
        (_with(SPEAKER, b"PK\x03\x04"), r"campplus_cn_common\.bin is damaged"),
        (_with("gpt.pth", b"PK\x03\x04"), r"gpt\.pth is damaged"),
        (_changed("codec.pth", lambda t: t.pop("down.bias")), r"isn't such a codec \(.*down\.bias"),
        (
            _changed("codec.pth", lambda t: t.pop("encoder.0.convnext.1.gamma")),
            r"isn't such a codec \(.*Unexpected",
        ),
        (_other_sizes, "has vocos_num_layers 2, not 3; downsample_scale 2, not 4 as"),
        (
            _changed(SPEAKER, lambda t: t.pop("xvector.tdnn.linear.weight")),
            r"isn't the speaker model CAM\+\+ \(.*xvector\.tdnn\.linear\.weight",
        ),
        (
            _changed(SPEAKER, lambda t: t["head.bn1.bias"].fill_(float("nan"))),
            r"not finite, in head\.bn1\.bias",
        ),
        (_changed("gpt.pth", lambda t: t.pop("lang_embedding.weight")), "and no lang_embedding"),
        (
            _changed("gpt.pth", lambda t: t.pop("emo_layer.bias")),
            r"configuration: emo_layer\.bias is missing",
        ),
        (_another_width, r"emo_layer\.weight is \[24, 24\], the configuration makes it \[12, 12\]"),
    ],
)
def test_missing_damaged_and_foreign_files_are_named(
    folder_2_5: Path, tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    """Each file of the folder is checked before anything is extracted."""
    root = tmp_path / "checkpoints"
    linked(folder_2_5, root)
    spoil(root)
    with pytest.raises((DataInvalid, SettingsInvalid), match=told):
        opened(find_files(root))


def test_a_missing_speaker_model_ends_the_command_before_it_writes(
    corpus: Corpus, folder_2_5: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the file's name, and no output."""
    root = tmp_path / "checkpoints"
    linked(folder_2_5, root)
    (root / SPEAKER).unlink()
    words = ["prepare", corpus.metadata, "--output", tmp_path / "out", "--indextts", root]
    assert 2 == main([str(word) for word in [*words, "--tokenizer", root / "bpe.model"]])
    assert f"{root / SPEAKER} (of funasr/campplus)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_files_are_found_where_ports_put_them(folder_2_5: Path, tmp_path: Path) -> None:
    """Speech model and speaker model may lie at the top of the folder."""
    root = tmp_path / "checkpoints"
    linked(folder_2_5, root)
    for each in (root / "hf_cache").iterdir():
        each.rename(root / each.name)
    found = find_files(root)
    assert (root / "w2v-bert-2.0", root / "campplus_cn_common.bin") == (
        found.speech_model,
        found.speaker_model,
    )
    named = find_files(root, semantic_codec=folder_2_5)
    assert folder_2_5 / "codec.pth" == named.semantic_codec
