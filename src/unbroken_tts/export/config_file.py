"""Brings a user's `config.yaml` up to date for exported weights, and leaves the rest as it is."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from unbroken import SettingsInvalid
from unbroken_tts.model.config import CONSTANT, GptConfig
from unbroken_tts.model.families import TOLD

# The parameters of `UnifiedVoice`, which the inference program calls with the whole `gpt` section
# (indextts/gpt/model_v2.py). `use_accel` is given by the program itself.
_ACCEPTED: Final = frozenset(
    {
        "layers", "model_dim", "heads", "max_text_tokens", "max_mel_tokens",
        "max_conditioning_inputs", "mel_length_compression", "number_text_tokens",
        "start_text_token", "stop_text_token", "number_mel_codes", "start_mel_token",
        "stop_mel_token", "train_solo_embeddings", "use_mel_codes_as_input", "checkpointing",
        "types", "condition_num_latent", "condition_type", "condition_module",
        "emo_condition_module",
    }
)  # fmt: skip
_ELSEWHERE: Final = {"number_text_tokens", "dropout", *TOLD}
"""Fields that may differ between the file and the weights."""
_NAMED_FILES: Final = (
    "w2v_stat", "s2mel_checkpoint", "emo_matrix", "spk_matrix", "qwen_emo_path",
)  # fmt: skip
# What else the program reads of its configuration (indextts/infer_v2.py).
_READ: Final = (*_NAMED_FILES, "semantic_codec", "s2mel", "vocoder", "emo_num")
WEIGHTS: Final = "gpt.pth"
"""The name that the web interface expects of the weights."""
_TOKENIZER: Final = "bpe.model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedConfig:
    """A `config.yaml` that belongs to exported weights."""

    text: str
    """The file."""
    tokenizer: str
    """Name of the tokenizer, relative to the folder."""
    left_out: tuple[str, ...]
    """Keys of the `gpt` section that the original constructor refuses."""
    needed: tuple[str, ...]
    """Other files that the inference program loads from the folder."""
    lacking: tuple[str, ...]
    """Keys that the inference program reads and the file doesn't have."""


def exported_config(
    text: str, origin: Path, config: GptConfig, vocabulary: int, tokenizer: str | None = None
) -> ExportedConfig:
    """Return the user's configuration with what the exported weights need.

    All other sections stay. Comments and layout stay too, unless a key has to be added.

    Args:
        text: The user's file.
        origin: Where it came from, for messages.
        config: The model of the weights.
        vocabulary: Pieces of the tokenizer.
        tokenizer: The name that the program looks for, whatever the configuration says; None for that
            of the configuration.

    Raises:
        SettingsInvalid: The file is no configuration, or not that of the weights.
    """
    document = _parsed(text, origin)
    _require_same_model(document, origin, config)
    wanted = copy.deepcopy(document)
    section = {key: value for key, value in wanted["gpt"].items() if key in _ACCEPTED}
    section |= {"number_text_tokens": vocabulary} | {
        key: value for key, value in CONSTANT.items() if key not in section
    }
    for module in ("condition_module", "emo_condition_module"):
        section[module] = {"input_layer": "conv2d2"} | section[module]
    wanted["gpt"] = section
    wanted["gpt_checkpoint"] = WEIGHTS
    wanted["dataset"] = _section(wanted, "dataset") | {
        "bpe_model": tokenizer or _tokenizer_name(wanted)
    }
    return ExportedConfig(
        text=_edited(text, document, wanted),
        tokenizer=wanted["dataset"]["bpe_model"],
        left_out=tuple(key for key in document["gpt"] if key not in section),
        lacking=tuple(key for key in _READ if key not in wanted),
        needed=tuple(str(wanted[key]) for key in _NAMED_FILES if isinstance(wanted.get(key), str)),
    )


def _parsed(text: str, origin: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _unusable(origin, f"is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(document, dict) or not isinstance(document.get("gpt"), dict):
        raise _unusable(origin, "has no `gpt` section")
    return document


def _unusable(origin: Path, what: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"The model configuration {origin} {what}.",
        "The exported folder gets this file, with the numbers of the weights.",
        "Name the config.yaml of your IndexTTS2 folder with --config.",
    )


def _require_same_model(document: dict[str, Any], origin: Path, config: GptConfig) -> None:
    theirs = GptConfig.from_mapping(document["gpt"], origin=str(origin)).model_dump()
    ours = config.model_dump()
    other = [
        f"{name} is {theirs[name]}, of the weights {ours[name]}"
        for name in ours
        if name not in _ELSEWHERE and theirs[name] != ours[name]
    ]
    if other:
        raise SettingsInvalid(
            f"The model configuration {origin} is not that of the weights: {'; '.join(other)}.",
            "The inference program would build a model of other shapes.",
            "Name the config.yaml that the run was trained with, with --config.",
        )


def _section(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _tokenizer_name(document: dict[str, Any]) -> str:
    """Return the tokenizer's name in the folder: no way out of it, and no name of another file."""
    named = _section(document, "dataset").get("bpe_model")
    if not isinstance(named, str) or not named.strip():
        return _TOKENIZER
    path = PurePosixPath(named.replace("\\", "/"))
    leads_out = path.is_absolute() or ".." in path.parts or ":" in named
    name = path.name if leads_out else path.as_posix()
    return name if PurePosixPath(name).suffix == ".model" else _TOKENIZER


def _edited(text: str, document: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return `text` changed in single lines if that gives what is wanted, else written anew."""
    changed = text
    for key in document["gpt"].keys() - wanted["gpt"].keys():
        changed = re.sub(rf"(?m)^[ \t]+{re.escape(str(key))}[ \t]*:.*\n?", "", changed)
    for key, value in (
        ("number_text_tokens", wanted["gpt"]["number_text_tokens"]),
        ("gpt_checkpoint", wanted["gpt_checkpoint"]),
        ("bpe_model", wanted["dataset"]["bpe_model"]),
    ):
        line = rf"(?m)^(?P<key>[ \t]*{key}[ \t]*:[ \t]*)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s#]+)"
        escaped = str(value).replace("\\", "\\\\")
        changed = re.sub(line, rf"\g<key>{escaped}", changed)
    try:
        if yaml.safe_load(changed) == wanted:
            return changed
    except yaml.YAMLError:
        pass
    return yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
