from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.indextts25_folder import LANGUAGE_ROWS, opened
from support.indextts_folder import CODES, LAYERS, write_indextts_folder
from support.prepared import tree
from support.semantic_formulas import quantised
from unbroken import SettingsInvalid
from unbroken_tts.cli.main import main
from unbroken_tts.corpus.synthesise import Corpus
from unbroken_tts.data.origin import origin_of
from unbroken_tts.model.campplus import CamPlusPlus
from unbroken_tts.model.conditioning_encoders import EmotionEncoder, conditioning_fingerprint
from unbroken_tts.model.config import GptConfig, code_book_of
from unbroken_tts.model.kaldi_features import centred, filter_banks
from unbroken_tts.prepare.audio import read_audio
from unbroken_tts.prepare.codec import load_codec
from unbroken_tts.prepare.indextts import Encoders, IndexTtsFiles, find_files
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan

Wave = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module")
def folder(folder_2_5: Path) -> Path:
    """A miniature folder of IndexTTS-2.5; nobody changes it."""
    return folder_2_5


@pytest.fixture(scope="module")
def files(folder: Path) -> IndexTtsFiles:
    """Its files."""
    return find_files(folder)


@pytest.fixture(scope="module")
def encoders(files: IndexTtsFiles) -> Encoders:
    """Its encoders."""
    return opened(files)


@pytest.fixture(scope="module")
def plan(folder: Path, files: IndexTtsFiles) -> PreparePlan:
    """A plan for its model."""
    return PreparePlan(
        tokenizer=TokenizerPlan(kind="existing", path=folder / "bpe.model"),
        config=files.config_for(GptConfig.from_yaml(folder / "config.yaml")),
        code_book=code_book_of(folder / "config.yaml"),
        val_ratio=0.2,
    )


@pytest.fixture(scope="module")
def waves(corpus: Corpus) -> list[Wave]:
    """Three recordings at 16 kHz."""
    recordings = sorted((corpus.metadata.parent / "wavs").iterdir())
    return [read_audio(path, 16_000) for path in recordings[:3]]


def standardised_rows(folder: Path, wave: Wave) -> torch.Tensor:
    """(1, T, 1024) speech features by the published classes."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertModel

    where = folder / "hf_cache" / "w2v-bert-2.0"
    extractor = SeamlessM4TFeatureExtractor.from_pretrained(where)
    model = Wav2Vec2BertModel.from_pretrained(where, dtype=torch.float32).eval()
    statistics = torch.load(folder / "wav2vec2bert_stats.pt", weights_only=True)
    with torch.inference_mode():
        banks = extractor([wave], sampling_rate=16_000, return_tensors="pt", padding=True)
        hidden = model(**banks, output_hidden_states=True).hidden_states[LAYERS]
        rows: torch.Tensor = (hidden - statistics["mean"]) / statistics["var"].sqrt()
    return rows


def test_the_weights_tell_the_version_not_the_configuration(
    folder: Path, files: IndexTtsFiles
) -> None:
    """The config.yaml of 2.5 says 2.0; the language table and the projection say 2.5."""
    published = GptConfig.from_yaml(folder / "config.yaml")
    assert not published.takes_speaker_vectors
    config = files.config_for(published)
    assert ((1, 192), LANGUAGE_ROWS) == (config.condition_shape, config.language_rows)


def test_codes_are_those_of_the_formulas_and_half_as_many(
    folder: Path, encoders: Encoders, waves: list[Wave]
) -> None:
    """A convolution of stride 2, GELU, and then the quantiser of 2.0: a code for every 40 ms."""
    table = torch.load(folder / "codec.pth", weights_only=True)["model"]
    for wave in waves:
        rows = standardised_rows(folder, wave)
        down = torch.nn.functional.conv1d(
            rows.transpose(1, 2), table["down.weight"], table["down.bias"], stride=2, padding=1
        )
        expected = quantised(table, torch.nn.functional.gelu(down).transpose(1, 2))
        codes = encoders.codec.encode(wave, 16_000)
        np.testing.assert_array_equal(expected, codes)
        assert np.int32 == codes.dtype
        assert (rows.shape[1] + 1) // 2 == len(codes)
        assert abs(len(codes) - len(wave) / 640) < 2
    assert len({int(code) for wave in waves for code in encoders.codec.encode(wave, 16_000)}) > 4


def test_the_voice_is_a_speaker_vector_and_the_emotion_that_of_the_weights(
    folder: Path, encoders: Encoders, files: IndexTtsFiles, waves: list[Wave]
) -> None:
    """Kaldi's filter banks less their means through CAM++; conformer and perceiver of gpt.pth."""
    speaker = CamPlusPlus()
    assert files.speaker_model is not None
    speaker.load(torch.load(files.speaker_model, weights_only=True))
    config = GptConfig.from_yaml(folder / "config.yaml")
    emotion = EmotionEncoder(config, torch.load(folder / "gpt.pth", weights_only=True))
    vectors = []
    for wave in waves:
        prompt = encoders.conditioner.condition(wave, 16_000)
        assert [(1, 192), (config.model_dim,)] == [prompt.condition.shape, prompt.emo_vec.shape]
        assert np.float32 == prompt.condition.dtype == prompt.emo_vec.dtype
        with torch.inference_mode():
            expected = speaker(centred(filter_banks(torch.from_numpy(wave))))
            rows = standardised_rows(folder, wave)[0]
            mood = emotion.emotion(rows, len(rows))
        np.testing.assert_allclose(prompt.condition[0], expected.numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(prompt.emo_vec, mood.numpy(), rtol=1e-4, atol=1e-5)
        vectors.append(prompt.condition)
    assert not np.allclose(vectors[0], vectors[1], rtol=1e-3), "two recordings are one voice"


def test_only_the_first_fifteen_seconds_of_a_recording_are_its_voice(
    encoders: Encoders, waves: list[Wave]
) -> None:
    """As 2.5 hears a prompt: what comes after them changes nothing."""
    seconds = [wave[:8_000] for wave in waves]
    long = np.concatenate([seconds[index % 3] for index in range(32)])
    heard, whole = (encoders.conditioner.condition(each, 16_000) for each in (long[:240_000], long))
    np.testing.assert_array_equal(heard.condition, whole.condition)
    np.testing.assert_array_equal(heard.emo_vec, whole.emo_vec)


def test_a_recording_alone_and_after_others_is_the_same(
    encoders: Encoders, waves: list[Wave]
) -> None:
    """No recording depends on those before it."""
    first = encoders.codec.encode(waves[0], 16_000)
    prompt = encoders.conditioner.condition(waves[0], 16_000)
    encoders.conditioner.condition(waves[1], 16_000)
    np.testing.assert_array_equal(first, encoders.codec.encode(waves[0].copy(), 16_000))
    again = encoders.conditioner.condition(waves[0].copy(), 16_000)
    np.testing.assert_array_equal(prompt.condition, again.condition)
    np.testing.assert_array_equal(prompt.emo_vec, again.emo_vec)


@pytest.fixture(scope="module")
def source(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of eight of the recordings."""
    directory = tmp_path_factory.mktemp("few")
    lines = corpus.metadata.read_text("utf-8").splitlines(keepends=True)
    path = directory / corpus.metadata.name
    path.write_text("".join(lines[:8]), "utf-8")
    (directory / "wavs").symlink_to(corpus.metadata.parent / "wavs")
    return path


@pytest.fixture(scope="module")
def output(
    source: Path, plan: PreparePlan, encoders: Encoders, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Prepared data of them; nobody changes them."""
    directory = tmp_path_factory.mktemp("prepared") / "out"
    summary = prepare(source, directory, plan, encoders=lambda: encoders)
    assert f"indextts-2.5, {CODES} codes, 25.0 per second" == summary.codec
    return directory


def test_prepared_data_have_the_shapes_of_2_5_and_name_what_made_them(
    source: Path, output: Path, plan: PreparePlan, encoders: Encoders, folder: Path
) -> None:
    """Codec, emotion encoder and speaker model have identities; a second call changes nothing."""
    described = json.loads((output / "prepare.json").read_text("utf-8"))
    assert ("indextts-2.5", 1, 192) == (
        described["codec"]["codec"],
        described["condition_num_latent"],
        described["condition_width"],
    )
    origin = origin_of(output / "train_pairs.jsonl")
    assert origin is not None
    assert ("indextts-2.5", "indextts-2.5") == (origin.codec, origin.conditioner)
    assert described["speaker_model"] == origin.facts()["speaker_model"] == origin.speaker_model
    weights = torch.load(folder / "gpt.pth", weights_only=True)
    own = {name: each for name, each in weights.items() if name.startswith(("emo_", "emovec_"))}
    assert conditioning_fingerprint(own) == origin.conditioner_fingerprint
    shapes = {np.load(path).shape for path in (output / "condition").iterdir()}
    assert {(1, 192)} == shapes
    assert {(plan.config.model_dim,)} == {np.load(p).shape for p in (output / "emo_vec").iterdir()}
    before = tree(output)
    assert 0 == prepare(source, output, plan, encoders=lambda: encoders).prepared_now
    assert before == tree(output)
    with pytest.raises(SettingsInvalid, match="its folder with --indextts"):
        load_codec(output / "codec")


def test_another_speaker_model_can_not_finish_the_features(
    source: Path, output: Path, plan: PreparePlan, files: IndexTtsFiles, tmp_path: Path
) -> None:
    """Vectors of two speaker models don't mix, although codec and gpt.pth are the same."""
    assert files.speaker_model is not None
    table = torch.load(files.speaker_model, weights_only=True)
    table["xvector.dense.linear.weight"].neg_()
    torch.save(table, tmp_path / "other.bin")
    other = opened(replace(files, speaker_model=tmp_path / "other.bin"))
    before = tree(output)
    with pytest.raises(SettingsInvalid, match="prepared with other options: speaker_model was"):
        prepare(source, output, plan, encoders=lambda: other)
    assert before == tree(output)


@pytest.fixture(scope="module")
def older(base_model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature folder of IndexTTS2 2.0 of the same sizes."""
    root = tmp_path_factory.mktemp("indextts20") / "checkpoints"
    write_indextts_folder(root, base_model, vocabulary=300)
    return root


def test_features_of_2_5_and_of_2_0_do_not_mix(
    source: Path,
    output: Path,
    plan: PreparePlan,
    encoders: Encoders,
    older: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A data set is of one version, and training on both is refused with exit code 2."""
    config = GptConfig.from_yaml(older / "config.yaml")
    of_2_0 = opened(find_files(older), config)
    old_plan = replace(plan, config=config)
    older_output = tmp_path / "older"
    prepare(source, older_output, old_plan, encoders=lambda: of_2_0)
    with pytest.raises(SettingsInvalid, match="prepared with other options: codec was"):
        prepare(source, output, old_plan, encoders=lambda: of_2_0)
    with pytest.raises(SettingsInvalid, match="prepared with other options: codec was"):
        prepare(source, older_output, plan, encoders=lambda: encoders)

    def told_by_train(data: Path, validation: Path) -> str:
        words = ["train", "--train-manifest", data / "train_pairs.jsonl"]
        words += ["--val-manifest", validation / "val_pairs.jsonl"]
        words += ["--tokenizer", older / "bpe.model", "--config", older / "config.yaml"]
        words += ["--base-checkpoint", older / "gpt.pth", "--output-dir", tmp_path / "run"]
        assert 2 == main([str(word) for word in words])
        captured = capsys.readouterr()
        return captured.err + captured.out

    told = told_by_train(older_output, output)
    assert "features of different kinds" in told
    assert "made with the same encoders" in told
    told = told_by_train(output, output)
    assert "were made for a model of IndexTTS-2.5, and this one is of 2.0" in told
    assert f"--output NEW_DIRECTORY --indextts {older} --tokenizer" in told


def test_a_configuration_of_the_other_version_is_refused(files: IndexTtsFiles, older: Path) -> None:
    """Where a configuration does tell, it must tell what the weights are."""
    config = files.config_for(GptConfig.from_yaml(files.config))
    with pytest.raises(SettingsInvalid, match=r"107 language rows, .* has no language table"):
        find_files(older).config_for(config)
    fewer = config.model_copy(update={"language_rows": 5})
    with pytest.raises(SettingsInvalid, match=r"5 language rows, .* has 107 language rows"):
        files.config_for(fewer)
