from __future__ import annotations

from pathlib import Path

import pytest

from support.indextts25_folder import write_indextts25_folder
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.corpus.synthesise import Corpus, make_corpus
from unbroken_tts.model.config import ConditionModule, GptConfig
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.prepare.plan import PreparePlan, TokenizerPlan
from unbroken_tts.prepare.tokenizers import train_tokenizer


@pytest.fixture(scope="session")
def english() -> list[str]:
    """English sentences, normalised."""
    return [normalise(sentence, "en") for sentence in load_sentences("en")]


@pytest.fixture(scope="session")
def amharic() -> list[str]:
    """Amharic sentences, normalised."""
    return [normalise(sentence, "am") for sentence in load_sentences("am")]


@pytest.fixture(scope="session")
def base_model(english: list[str]) -> bytes:
    """A base tokenizer of 300 pieces."""
    return train_tokenizer(english, 300)


@pytest.fixture(scope="session")
def folder_2_5(base_model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature folder of IndexTTS-2.5; nobody changes it."""
    root = tmp_path_factory.mktemp("indextts25") / "checkpoints"
    write_indextts25_folder(root, base_model, vocabulary=300)
    return root


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Twenty-four sentences by two voices."""
    directory = tmp_path_factory.mktemp("corpus")
    return make_corpus(directory, "am", load_sentences("am")[:24], ["am", "am+f4"])


@pytest.fixture(scope="session")
def config() -> GptConfig:
    """A small model."""
    module = ConditionModule(
        output_size=4, linear_units=16, attention_heads=1, num_blocks=1, perceiver_mult=2
    )
    return GptConfig(
        model_dim=16,
        layers=1,
        heads=2,
        max_mel_tokens=200,
        max_text_tokens=120,
        number_mel_codes=66,
        start_mel_token=64,
        stop_mel_token=65,
        condition_num_latent=4,
        condition_module=module,
        emo_condition_module=module,
    )


@pytest.fixture
def plan(config: GptConfig, base_model: bytes, tmp_path: Path) -> PreparePlan:
    """Extend the base for Amharic; hold a fifth back."""
    path = tmp_path / "base.model"
    path.write_bytes(base_model)
    tokenizer = TokenizerPlan(
        kind="extend", path=path, size=600, base_texts=tuple(load_sentences("en")[:40])
    )
    return PreparePlan(tokenizer=tokenizer, config=config, val_ratio=0.2)
