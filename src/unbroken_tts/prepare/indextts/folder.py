"""Finds the files of IndexTTS2 that features are made with, wherever its tools put them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from unbroken import DataInvalid
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.indextts.version import config_for, language_rows_of

CONFIG = "config.yaml"
"""Name of the configuration in a folder of IndexTTS2."""

_SPEECH_MODEL = (
    "w2v-bert-2.0",
    "*/w2v-bert-2.0",
    "models--facebook--w2v-bert-2.0/snapshots/*",
    "*/models--facebook--w2v-bert-2.0/snapshots/*",
)
_SPEAKER_MODEL = (
    "hf_cache/campplus_cn_common.bin",
    "campplus_cn_common.bin",
    "*/campplus_cn_common.bin",
    "*/models--funasr--campplus/snapshots/*/campplus_cn_common.bin",
)
_SEMANTIC_CODEC_2_5 = ("codec.pth", "*/codec.pth")
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
    """`gpt.pth`: its untrained encoders make the conditioning, in 2.5 only the emotion."""
    statistics: Path
    """`wav2vec2bert_stats.pt`: mean and variance of the speech features."""
    speech_model: Path
    """The directory of w2v-bert-2.0: config.json, model.safetensors, preprocessor_config.json."""
    semantic_codec: Path
    """The semantic codec of MaskGCT, or `codec.pth` of 2.5: a file of tensors."""
    speaker_model: Path | None = None
    """`campplus_cn_common.bin`, which makes the speaker vectors of 2.5; None for 2.0."""
    language_rows: int = 0
    """Rows of the language table of a `gpt.pth` of 2.5; 0 for 2.0."""

    def config_for(self, config: GptConfig) -> GptConfig:
        """Return a configuration with what only the tensors of `gpt.pth` tell.

        Raises:
            SettingsInvalid: The configuration says that it is for the other version.
        """
        return config_for(config, self.language_rows, self.gpt)


def find_files(
    directory: Path, *, speech_model: Path | None = None, semantic_codec: Path | None = None
) -> IndexTtsFiles:
    """Find the files in a folder of IndexTTS2; `gpt.pth` tells of which version it is.

    Args:
        directory: Contains `config.yaml`, which names `gpt.pth` and the statistics.
        speech_model: Directory of w2v-bert-2.0, if it is elsewhere.
        semantic_codec: File of the semantic codec, or its directory, if it is elsewhere.

    Raises:
        DataInvalid: Files are missing, and the message names all of them; or `gpt.pth` is damaged.
        SettingsInvalid: `gpt.pth` has several sets of weights.
    """
    config = directory / CONFIG
    names = _named(config)
    gpt, statistics = directory / names["gpt_checkpoint"], directory / names["w2v_stat"]
    rows = language_rows_of(gpt) if gpt.is_file() else 0
    is_2_5 = bool(rows) or (not gpt.is_file() and (directory / _SEMANTIC_CODEC_2_5[0]).is_file())
    model = speech_model or _first(directory, _SPEECH_MODEL)
    codec = _codec(directory, semantic_codec, is_2_5=is_2_5)
    speaker = _first(directory, _SPEAKER_MODEL)
    missing = [str(path) for path in (gpt, statistics) if not path.is_file()]
    if model is None or not (model / "config.json").is_file():
        missing.append(
            f"{speech_model or directory / _SPEECH_MODEL[0]} (the model facebook/w2v-bert-2.0; if "
            "it is elsewhere, name its directory with --w2v-bert)"
        )
    if not codec.is_file():
        source = "" if is_2_5 else "of amphion/MaskGCT; "
        missing.append(f"{codec} ({source}if it is elsewhere, name the file with --semantic-codec)")
    if is_2_5 and (speaker is None or not speaker.is_file()):
        missing.append(f"{directory / _SPEAKER_MODEL[0]} (of funasr/campplus)")
    if missing or model is None:
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
        speaker_model=speaker if is_2_5 else None,
        language_rows=rows,
    )


def _codec(directory: Path, named: Path | None, *, is_2_5: bool) -> Path:
    """Return the file of the semantic codec: as named, as found, or as it would be expected."""
    if named is not None and named.is_dir():
        return named / ("codec.pth" if is_2_5 else "model.safetensors")
    patterns = _SEMANTIC_CODEC_2_5 if is_2_5 else _SEMANTIC_CODEC
    return named or _first(directory, patterns) or directory / patterns[0]


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
