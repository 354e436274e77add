"""Finds the files of IndexTTS2 that features are made with, wherever its tools put them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from unbroken import DataInvalid

CONFIG = "config.yaml"
"""Name of the configuration in a folder of IndexTTS2."""

_SPEECH_MODEL = (
    "w2v-bert-2.0",
    "*/w2v-bert-2.0",
    "models--facebook--w2v-bert-2.0/snapshots/*",
    "*/models--facebook--w2v-bert-2.0/snapshots/*",
)
_SEMANTIC_CODEC = (
    "semantic_codec/model.safetensors",
    "*/semantic_codec/model.safetensors",
    "semantic_codec_model.safetensors",
    "*/semantic_codec_model.safetensors",
    "semantic_codec.pth",
    "models--amphion--MaskGCT/snapshots/*/semantic_codec/model.safetensors",
    "*/models--amphion--MaskGCT/snapshots/*/semantic_codec/model.safetensors",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexTtsFiles:
    """The files that features are made with."""

    config: Path
    """`config.yaml`."""
    gpt: Path
    """`gpt.pth`: its untrained encoders make the conditioning."""
    statistics: Path
    """`wav2vec2bert_stats.pt`: mean and variance of the speech features."""
    speech_model: Path
    """The directory of w2v-bert-2.0: config.json, model.safetensors, preprocessor_config.json."""
    semantic_codec: Path
    """The semantic codec of MaskGCT, a file of tensors."""


def find_files(
    directory: Path, *, speech_model: Path | None = None, semantic_codec: Path | None = None
) -> IndexTtsFiles:
    """Find the files in a folder of IndexTTS2.

    Args:
        directory: Contains `config.yaml`, which names `gpt.pth` and the statistics.
        speech_model: Directory of w2v-bert-2.0, if it is elsewhere.
        semantic_codec: File of the semantic codec, or its directory, if it is elsewhere.

    Raises:
        DataInvalid: Files are missing; the message names all of them.
    """
    config = directory / CONFIG
    names = _named(config)
    codec = semantic_codec
    if codec is not None and codec.is_dir():
        codec = codec / "model.safetensors"
    missing = []
    gpt, statistics = directory / names["gpt_checkpoint"], directory / names["w2v_stat"]
    missing += [str(path) for path in (gpt, statistics) if not path.is_file()]
    model = speech_model or _first(directory, _SPEECH_MODEL)
    if model is None or not (model / "config.json").is_file():
        missing.append(
            f"{speech_model or directory / _SPEECH_MODEL[0]} (the model facebook/w2v-bert-2.0; if "
            "it is elsewhere, name its directory with --w2v-bert)"
        )
    codec = codec or _first(directory, _SEMANTIC_CODEC)
    if codec is None or not codec.is_file():
        missing.append(
            f"{semantic_codec or directory / _SEMANTIC_CODEC[0]} (of amphion/MaskGCT; if it is "
            "elsewhere, name the file with --semantic-codec)"
        )
    if missing or model is None or codec is None:
        raise DataInvalid(
            "\n".join(
                [f"{len(missing)} files of IndexTTS2 are missing:", *map("  {}".format, missing)]
            ),
            "Codes, conditioning and emotion vectors of the real model are made with them.",
            "Copy them there. Nothing is downloaded by this program.",
        )
    return IndexTtsFiles(
        config=config,
        gpt=gpt,
        statistics=statistics,
        speech_model=model,
        semantic_codec=codec,
    )


def _named(config: Path) -> dict[str, str]:
    """Return the names that the configuration gives to its files."""
    names = {"gpt_checkpoint": "gpt.pth", "w2v_stat": "wav2vec2bert_stats.pt"}
    try:
        document = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataInvalid(
            f"The configuration {config} can't be read: {' '.join(str(error).split())}.",
            "It describes the model and names its files.",
            "Name the folder of IndexTTS2, which contains config.yaml and gpt.pth.",
        ) from error
    given = document if isinstance(document, dict) else {}
    return names | {key: str(given[key]) for key in names if isinstance(given.get(key), str)}


def _first(directory: Path, patterns: Iterable[str]) -> Path | None:
    """Return the first path that matches a pattern, by the order of the patterns and by name."""
    return next((path for each in patterns for path in sorted(directory.glob(each))), None)
