from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from support.indextts_folder import CODES, LAYERS, write_indextts_folder
from support.prepared import listed, tree
from support.semantic_formulas import quantised
from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.cli.main import main
from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.model.base import read_base
from unbroken_tts.model.conditioning_encoders import conditioning_fingerprint
from unbroken_tts.model.config import GptConfig, code_book_of
from unbroken_tts.prepare.audio import read_audio, write_audio
from unbroken_tts.prepare.codec import load_codec
from unbroken_tts.prepare.indextts import Encoders, find_files, open_encoders
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan


@pytest.fixture(scope="module")
def folder(base_model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature folder of IndexTTS2; nobody changes it."""
    root = tmp_path_factory.mktemp("indextts") / "checkpoints"
    write_indextts_folder(root, base_model, vocabulary=300)
    return root


@pytest.fixture(scope="module")
def encoders(folder: Path) -> Encoders:
    """Its encoders."""
    config = GptConfig.from_yaml(folder / "config.yaml")
    return open_encoders(find_files(folder), config, device="cpu", layer=LAYERS)


@pytest.fixture
def plan(folder: Path) -> PreparePlan:
    """A plan for its model."""
    return PreparePlan(
        tokenizer=TokenizerPlan(kind="existing", path=folder / "bpe.model"),
        config=GptConfig.from_yaml(folder / "config.yaml"),
        code_book=code_book_of(folder / "config.yaml"),
        val_ratio=0.2,
    )


@pytest.fixture(scope="module")
def waves(corpus: Corpus) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Three recordings at 16 kHz."""
    recordings = sorted((corpus.metadata.parent / "wavs").iterdir())
    return [read_audio(path, 16_000) for path in recordings[:3]]


def original_codes(
    folder: Path, wave: np.ndarray[Any, np.dtype[np.float32]]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Codes by the published classes for the features, and by the formulas for the quantiser."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertModel

    extractor = SeamlessM4TFeatureExtractor.from_pretrained(folder / "w2v-bert-2.0")
    model = Wav2Vec2BertModel.from_pretrained(folder / "w2v-bert-2.0", dtype=torch.float32).eval()
    statistics = torch.load(folder / "wav2vec2bert_stats.pt", weights_only=True)
    table = load_file(folder / "semantic_codec" / "model.safetensors")
    with torch.inference_mode():
        banks = extractor([wave], sampling_rate=16_000, return_tensors="pt", padding=True)
        hidden = model(**banks, output_hidden_states=True).hidden_states[LAYERS]
        rows = (hidden - statistics["mean"]) / statistics["var"].sqrt()
        return quantised(table, rows)


def test_codes_are_those_of_the_published_classes(
    folder: Path, encoders: Encoders, waves: list[Any]
) -> None:
    """Two codes for every 40 ms of a recording, as layer and quantiser of the original give them."""
    for wave in waves:
        codes = encoders.codec.encode(wave, 16_000)
        np.testing.assert_array_equal(original_codes(folder, wave), codes)
        assert np.int32 == codes.dtype
        assert abs(len(codes) - len(wave) / 320) < 2
    assert len({int(code) for wave in waves for code in encoders.codec.encode(wave, 16_000)}) > 4, (
        "a code book of which hardly a code is used proves little"
    )


def test_a_recording_alone_and_after_others_is_the_same(
    encoders: Encoders, waves: list[Any]
) -> None:
    """No recording depends on those before it."""
    first = encoders.codec.encode(waves[0], 16_000)
    prompt = encoders.conditioner.condition(waves[0], 16_000)
    for wave in waves[1:]:
        encoders.conditioner.condition(wave, 16_000)
    np.testing.assert_array_equal(first, encoders.codec.encode(waves[0].copy(), 16_000))
    again = encoders.conditioner.condition(waves[0].copy(), 16_000)
    np.testing.assert_array_equal(prompt.condition, again.condition)
    np.testing.assert_array_equal(prompt.emo_vec, again.emo_vec)


def test_prepared_data_name_what_made_them(
    corpus: Corpus, plan: PreparePlan, encoders: Encoders, folder: Path, tmp_path: Path
) -> None:
    """Codes and conditioning have identities; the conditioner's is that of the gpt.pth."""
    summary = prepare(corpus.metadata, tmp_path / "out", plan, encoders=lambda: encoders)
    assert f"maskgct, {CODES} codes, 50.0 per second" == summary.codec
    described = json.loads((tmp_path / "out" / "prepare.json").read_text("utf-8"))
    assert ("maskgct", "indextts") == (described["codec"]["codec"], described["conditioner_name"])
    untrained = read_base(folder / "gpt.pth").untrained_encoders
    assert conditioning_fingerprint(untrained) == described["conditioner"]
    before = tree(tmp_path / "out")
    again = prepare(corpus.metadata, tmp_path / "out", plan, encoders=lambda: encoders)
    assert 0 == again.prepared_now
    assert before == tree(tmp_path / "out")
    with pytest.raises(SettingsInvalid, match="its folder with --indextts"):
        load_codec(tmp_path / "out" / "codec")


def test_other_weights_can_not_finish_the_features(
    corpus: Corpus, plan: PreparePlan, encoders: Encoders, folder: Path, tmp_path: Path
) -> None:
    """A directory is bound to its codec and its conditioner."""
    prepare(corpus.metadata, tmp_path / "out", plan, encoders=lambda: encoders)
    files = find_files(folder)
    table = load_file(files.semantic_codec)
    table["quantizer.quantizers.0.codebook.weight"].neg_()
    save_file(table, tmp_path / "other.safetensors")
    other = open_encoders(
        replace(files, semantic_codec=tmp_path / "other.safetensors"),
        plan.config,
        device="cpu",
        layer=LAYERS,
    )
    assert other.codec.fingerprint != encoders.codec.fingerprint
    before = tree(tmp_path / "out")
    with pytest.raises(SettingsInvalid, match="prepared with other options: codec was"):
        prepare(corpus.metadata, tmp_path / "out", plan, encoders=lambda: other)
    assert before == tree(tmp_path / "out")


def test_the_embedded_codec_is_refused_for_the_real_model(
    corpus: Corpus, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A configuration that names a semantic codec gets no features that are noise to its model."""
    words = ["prepare", corpus.metadata, "--output", tmp_path / "out"]
    words += ["--tokenizer", folder / "bpe.model", "--config", folder / "config.yaml"]
    assert 2 == main([str(word) for word in words])
    told = capsys.readouterr().err
    assert f"names a semantic codec of {CODES} codes" in told
    assert f"--output {tmp_path / 'out'} --indextts DIR" in told
    assert not (tmp_path / "out").exists()


def test_more_codes_than_the_embedded_codec_has_are_told_before_it_is_fitted(
    corpus: Corpus, plan: PreparePlan, tmp_path: Path
) -> None:
    """A configuration of the real model without its semantic section is recognised by its codes."""
    wide = {"start_mel_token": 8192, "stop_mel_token": 8193, "number_mel_codes": 8194}
    real = replace(plan, code_book=None, config=plan.config.model_copy(update=wide))
    with pytest.raises(SettingsInvalid, match="The model has 8192 codes, and the features would"):
        prepare(corpus.metadata, tmp_path / "out", real)
    assert not (tmp_path / "out").exists()


def test_a_codec_with_another_code_book_is_refused(
    corpus: Corpus, plan: PreparePlan, encoders: Encoders, tmp_path: Path
) -> None:
    """The codec must have exactly the codes that the configuration says."""
    other = replace(plan, code_book=CODES - 1)
    with pytest.raises(SettingsInvalid, match=f"has {CODES} codes, the code book of the model"):
        prepare(corpus.metadata, tmp_path / "out", other, encoders=lambda: encoders)
    assert not (tmp_path / "out").exists()


def test_too_short_a_recording_is_named(encoders: Encoders) -> None:
    """Less than three rows of features can't be encoded."""
    with pytest.raises(DataInvalid, match="lasts 50 ms, less than 75 ms"):
        encoders.codec.encode(np.ones(800, dtype=np.float32), 16_000)


def test_an_hour_of_sound_is_refused_before_it_is_encoded(
    corpus: Corpus, plan: PreparePlan, encoders: Encoders, tmp_path: Path
) -> None:
    """What has no place in the model costs no memory."""
    write_audio(tmp_path / "hour.wav", np.ones(3_600 * 800, dtype=np.float32), 800)
    source = listed(tmp_path, [{"audio": "hour.wav", "text": "ሰላም", "speaker": "a"}])
    with pytest.raises(DataInvalid, match="has 180000 codes, the model takes 1 to 401"):
        prepare(source, tmp_path / "out", plan, encoders=lambda: encoders)


def _without(name: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def _with(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / name).write_bytes(content)

    return spoil


def _statistics(root: Path) -> None:
    torch.save(
        {"mean": torch.zeros(1024), "var": torch.zeros(1024)}, root / "wav2vec2bert_stats.pt"
    )


def _fewer_layers(root: Path) -> None:
    path = root / "w2v-bert-2.0" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"num_hidden_layers": 1}))


def _other_widths(root: Path) -> None:
    document = yaml.safe_load((root / "config.yaml").read_text("utf-8"))
    document["gpt"]["model_dim"] = 24
    (root / "config.yaml").write_text(yaml.safe_dump(document), "utf-8")


def _decoder_only(root: Path) -> None:
    path = root / "semantic_codec" / "model.safetensors"
    table = load_file(path)
    save_file({name: each for name, each in table.items() if name.startswith("decoder")}, path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_without("gpt.pth"), "gpt.pth"),
        (_without("w2v-bert-2.0"), "name its directory with --w2v-bert"),
        (_without("semantic_codec"), "name the file with --semantic-codec"),
        (_without("wav2vec2bert_stats.pt"), "wav2vec2bert_stats.pt"),
        (_without("w2v-bert-2.0/preprocessor_config.json"), "can't be loaded"),
        (_with("w2v-bert-2.0/model.safetensors", b"\x10" * 99), "can't be loaded"),
        (_with("w2v-bert-2.0/config.json", b"[]"), "The speech model in"),
        (_with("semantic_codec/model.safetensors", b""), "semantic codec .* can't be read"),
        (_with("wav2vec2bert_stats.pt", b"cos\nsystem\n(S'x'\ntR."), "is not a PyTorch archive"),
        (_with("gpt.pth", b"PK\x03\x04"), "is damaged"),
        (_statistics, "no usable `mean` and `var`"),
        (_fewer_layers, "has 1 layers of width 1024"),
        (_other_widths, "does not fit the configuration"),
        (_decoder_only, "isn't such a codec"),
    ],
)
def test_missing_damaged_and_foreign_files_are_named(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    """Each file of the folder is checked before anything is written."""
    root = tmp_path / "checkpoints"
    shutil.copytree(folder, root)
    spoil(root)
    with pytest.raises((DataInvalid, SettingsInvalid), match=told):
        open_encoders(
            find_files(root), GptConfig.from_yaml(root / "config.yaml"), device="cpu", layer=LAYERS
        )


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("without --indextts", ["--w2v-bert", "x"]),
        ("both given", ["--indextts", "FOLDER", "--codec", "melvq"]),
        ("config.yaml can't be read", ["--indextts", "nowhere"]),
        ("--device moon", ["--indextts", "FOLDER", "--device", "moon"]),
    ],
)
def test_bad_flags_are_told(
    corpus: Corpus,
    folder: Path,
    tmp_path: Path,
    told: str,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, and no output."""
    flags = [str(folder) if word == "FOLDER" else word for word in words]
    command = ["prepare", str(corpus.metadata), "--output", str(tmp_path / "out"), *flags]
    if "--indextts" not in words:
        command += ["--config", str(folder / "config.yaml")]
    assert 2 == main([*command, "--tokenizer", str(folder / "bpe.model")])
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_files_are_found_where_tools_put_them(folder: Path, tmp_path: Path) -> None:
    """A hub's cache inside the folder will do, and so will directories that are named."""
    root = tmp_path / "checkpoints"
    root.mkdir()
    for name in ("config.yaml", "gpt.pth", "wav2vec2bert_stats.pt"):
        shutil.copy(folder / name, root / name)
    named = find_files(
        root,
        speech_model=folder / "w2v-bert-2.0",
        semantic_codec=folder / "semantic_codec",
    )
    assert folder / "semantic_codec/model.safetensors" == named.semantic_codec
    cache = root / "hf_cache"
    speech = cache / "models--facebook--w2v-bert-2.0/snapshots/da985"
    codec = cache / "models--amphion--MaskGCT/snapshots/265c6/semantic_codec"
    for target, content in ((speech, "config.json"), (codec, "model.safetensors")):
        target.mkdir(parents=True)
        (target / content).touch()
    found = find_files(root)
    assert (speech, codec / "model.safetensors") == (found.speech_model, found.semantic_codec)
