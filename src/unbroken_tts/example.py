"""Writes small example data under the names that the README uses.

It makes `preprocessed_amharic/`, `tokenizers/` and `checkpoints/` in a directory: Amharic speech by
espeak-ng, prepared like real recordings; a base tokenizer trained on English, and its extension; and
a base checkpoint that is valid but untrained. Files that it did not make are never touched; its own
complete files are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unbroken import SettingsInvalid
from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.corpus.synthesise import VOICES, make_corpus
from unbroken_tts.export import write_gpt_pth
from unbroken_tts.model.config import GptConfig
from unbroken_tts.model.gpt_file import gpt_file_shapes
from unbroken_tts.model.initial_values import initial_values
from unbroken_tts.prepare.fitting import Stages, silent_stages
from unbroken_tts.prepare.normalisation import normalise
from unbroken_tts.prepare.pipeline import prepare
from unbroken_tts.prepare.plan import DESCRIPTION, PreparePlan, TokenizerPlan
from unbroken_tts.prepare.summary import Summary
from unbroken_tts.prepare.tokenizers import train_tokenizer
from unbroken_tts.prepare.written import write_whole

DATA = "preprocessed_amharic"
"""Directory of the data set."""
BASE_TOKENIZER = "tokenizers/base_bpe.model"
"""The tokenizer of the base checkpoint."""
TOKENIZER = "tokenizers/amharic_extended_bpe.model"
"""The extended tokenizer, which produced the text ids."""
CONFIG = "checkpoints/config.yaml"
"""The configuration of the model."""
CHECKPOINT = "checkpoints/gpt.pth"
"""The base checkpoint."""
RECORD = "checkpoints/example.json"
"""Digests of the files that the example made, to recognise others."""

_UTTERANCES = 64
_BASE_VOCABULARY = 300
_VOCABULARY = 700
_VAL_RATIO = 0.15
_SEED = 1_234
_CONFIG_TEXT = """\
# A small model for trying out; the real one has model_dim 1280, 24 layers and 20 heads.
dataset:
    bpe_model: ../tokenizers/base_bpe.model
    sample_rate: 22050
gpt:
    model_dim: 64
    layers: 2
    heads: 4
    max_mel_tokens: 200
    max_text_tokens: 120
    use_mel_codes_as_input: true
    mel_length_compression: 1024
    number_text_tokens: 300
    number_mel_codes: 514
    start_mel_token: 512
    stop_mel_token: 513
    start_text_token: 0
    stop_text_token: 1
    train_solo_embeddings: false
    condition_type: "conformer_perceiver"
    condition_module:
        output_size: 4
        linear_units: 16
        attention_heads: 1
        num_blocks: 1
        input_layer: "conv2d2"
        perceiver_mult: 2
    emo_condition_module:
        output_size: 4
        linear_units: 16
        attention_heads: 1
        num_blocks: 1
        input_layer: "conv2d2"
        perceiver_mult: 0.01
gpt_checkpoint: gpt.pth
version: 2.0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """The files of the example."""

    directory: Path
    """Where."""
    summary: Summary
    """Of the prepared data."""


class _Record:
    """Records the example's files by digest, each before it is written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / RECORD
        self._digests: dict[str, str] = {}
        if self._path.is_file():
            try:
                self._digests = json.loads(self._path.read_text(encoding="utf-8"))
            except ValueError:
                self._digests = {}

    def is_ours(self, name: str) -> bool:
        """Return whether a file exists and is the example's, unchanged."""
        path = self._directory / name
        if not path.is_file():
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() == self._digests.get(name)

    def knows(self, name: str) -> bool:
        """Return whether the example ever made a file of this name."""
        return name in self._digests

    def write(self, name: str, content: bytes) -> None:
        """Write a file unless it exists."""
        if self.is_ours(name):
            return
        self._digests[name] = hashlib.sha256(content).hexdigest()
        text = json.dumps(self._digests, indent=2) + "\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, text.encode())
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


def _refuse_foreign(directory: Path, record: _Record) -> None:
    names = (BASE_TOKENIZER, TOKENIZER, CONFIG, CHECKPOINT)
    foreign = [name for name in names if (directory / name).exists() and not record.is_ours(name)]
    data = directory / DATA
    is_ours = (data / DESCRIPTION).is_file() and record.knows(BASE_TOKENIZER)
    entries = {entry.name for entry in data.iterdir()} if data.is_dir() else set()
    if entries - {"recordings"} and not is_ours:
        foreign.append(DATA)
    if foreign:
        raise SettingsInvalid(
            f"These exist in {directory.resolve()} and were not made by the example: "
            f"{', '.join(foreign)}.",
            "They may be your own data, so nothing was written.",
            "Move them away, or write the example to another directory.",
        )


def _checkpoint_bytes(directory: Path, config: GptConfig) -> bytes:
    aside = directory / f"{CHECKPOINT}.partial"
    shapes = gpt_file_shapes(config, _BASE_VOCABULARY)
    write_gpt_pth(aside, initial_values(shapes, layers=config.layers, seed=_SEED))
    try:
        return aside.read_bytes()
    finally:
        aside.unlink()


def _sentences(count: int) -> Sequence[str]:
    # The first fifty contain all hand-written sentences; some of the composed ones follow.
    return load_sentences("am")[:count]


def make_example(directory: Path, *, stages: Stages = silent_stages) -> Example:
    """Write the example, or complete one that was interrupted.

    Args:
        directory: Where to write it; the README's command expects the current directory.
        stages: Draws progress.

    Returns:
        The files of the example.

    Raises:
        SettingsInvalid: Files that the example did not make are in the way, or espeak-ng is not
            installed.
    """
    record = _Record(directory)
    _refuse_foreign(directory, record)
    english = load_sentences("en")
    texts = [normalise(sentence, "en") for sentence in english]
    record.write(BASE_TOKENIZER, train_tokenizer(texts, _BASE_VOCABULARY))
    record.write(CONFIG, _CONFIG_TEXT.encode())
    config = GptConfig.from_yaml(directory / CONFIG)
    if not record.is_ours(CHECKPOINT):
        record.write(CHECKPOINT, _checkpoint_bytes(directory, config))
    data = directory / DATA
    corpus = make_corpus(
        data / "recordings",
        "am",
        _sentences(_UTTERANCES),
        VOICES["am"],
        progress=stages("Speaking"),
    )
    plan = PreparePlan(
        tokenizer=TokenizerPlan(
            kind="extend",
            path=directory / BASE_TOKENIZER,
            size=_VOCABULARY,
            base_texts=tuple(english),
        ),
        config=config,
        val_ratio=_VAL_RATIO,
    )
    summary = prepare(corpus.metadata, data, plan, stages=stages)
    record.write(TOKENIZER, (data / "tokenizer.model").read_bytes())
    return Example(directory=directory, summary=summary)
