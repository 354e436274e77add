"""The facts of a training run, which a resume compares."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import xxhash

from unbroken_tts.data.manifest import parse_argument
from unbroken_tts.model.config import BESIDE, GptConfig
from unbroken_tts.model.families import TOLD
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.prepare.fronts import rules_of_data
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.execution import Execution
from unbroken_tts.train.feature_origin import origin_facts
from unbroken_tts.train.initial_weights import InitialWeights
from unbroken_tts.train.inputs import Inputs
from unbroken_tts.train.kept_settings import setting_facts
from unbroken_tts.train.language_row import LANGUAGE_ROW
from unbroken_tts.train.old_settings import RESCUED
from unbroken_tts.train.part import TRAINED_PART

MAY_CHANGE = (
    "base",
    "base_rows",
    "code",
    "execution.batch",
    "execution.accumulation",
    "execution.workers",
    "data.validation",
    "features",  # other features are other data, which is told
    "model.number_text_tokens",  # the tokenizer decides; the file is often brought up to date later
    "sources",
    "text_rules",  # with other rules the text ids, and so `data.train`, differ too
)
"""Facts that may change; a change is only noted."""


FROZEN = (
    "model.text_embedding.base",
    "model.text_head.base_weight",
    "model.text_head.base_bias",
)
"""Tensors of the base vocabulary, by leaf path."""
OTHER_LANGUAGES = "model.lang_embedding.base"
"""The language table of IndexTTS-2.5, but for the row that is trained."""


def frozen_tensors(model: VoiceGpt) -> dict[str, slice | None]:
    """Return what must not change: rows of the base vocabulary, and layers that aren't trained."""
    layers = [f"model.{name}" for name, each in model.named_parameters() if not each.requires_grad]
    languages = [OTHER_LANGUAGES] if model.lang_embedding is not None else []
    return dict.fromkeys([*(FROZEN if model.frozen_rows else ()), *languages, *layers])


def facts_of(
    settings: TrainSettings,
    inputs: Inputs,
    initial: InitialWeights,
    execution: Execution,
) -> dict[str, Any]:
    """Return the facts of the run; a resume compares them with the checkpoint's."""
    proved = {} if initial.base_rows is None else {"base_rows": initial.base_rows}
    return {
        "settings": setting_facts(settings),
        "tokenizer": inputs.tokenizer.digest,
        "vocabulary": inputs.tokenizer.vocabulary,
        "frozen_rows": initial.model.frozen_rows,
        "model": _model_facts(inputs.config, initial.model.config),
        "data": {
            "train": inputs.train.fingerprint,
            "validation": inputs.validation.fingerprint,
            "dropped": [str(each.pair_id) for each in inputs.train.dropped],
            **({"trim_codes": True} if settings.trim_codes else {}),
        },
        "features": origin_facts(inputs.origin),
        "text_rules": _text_rules(settings, inputs),
        "base": initial.base,
        **proved,
        "execution": {
            "batch": execution.plan.batch,
            "accumulation": execution.plan.accumulation,
            "workers": execution.workers,
            "precision": execution.precision.precision,
        },
        "sources": _sources(settings),
        **_language_facts(initial.model),
        **_trained_part(initial),
        **({} if initial.rescued is None else {RESCUED: initial.rescued}),
        "code": {each: code_digest(each) for each in ("unbroken", "unbroken_tts")},
    }


def _model_facts(asked: GptConfig, built: GptConfig) -> dict[str, Any]:
    """Return the configuration, with what only the weights tell as the model has it.

    What earlier versions didn't know is left out where it is what they did.
    """
    told = asked.model_copy(update={name: getattr(built, name) for name in TOLD})
    new = told.model_dump(mode="json", include=set(BESIDE), exclude_defaults=True)
    return told.model_dump(mode="json", exclude=set(BESIDE)) | new


def _language_facts(model: VoiceGpt) -> dict[str, Any]:
    table = model.lang_embedding
    return {} if table is None else {LANGUAGE_ROW: table.trained}


def _trained_part(initial: InitialWeights) -> dict[str, Any]:
    if initial.part is None:
        return {}
    return {TRAINED_PART: initial.part.recorded() | {"base": initial.frozen_base}}


def code_digest(package: str) -> str:
    """Return a digest over names and contents of the source files of a package."""
    whole = xxhash.xxh3_128()
    found = files(package)
    if not isinstance(found, Path):  # not installed as files
        return "unknown"
    for each in sorted(found.rglob("*.py")):
        # Line endings depend on the system and don't change the code.
        source = each.read_bytes().replace(b"\r\n", b"\n")
        whole.update(each.relative_to(found).as_posix().encode() + b"\0" + source + b"\0")
    return whole.hexdigest()


def _text_rules(settings: TrainSettings, inputs: Inputs) -> dict[str, Any] | None:
    """Return the rules that made the text ids; None where they are unknown or not the same."""
    languages = inputs.train.pairs.languages
    folders = {Path(parse_argument(each).path).parent for each in settings.train_manifest}
    found = {rules_of_data(folder, languages) for folder in folders}
    rules = found.pop() if len(found) == 1 else None
    return rules.recorded() if rules else None


def _sources(settings: TrainSettings) -> dict[str, Any]:
    """Return where things lie, so that speaking finds them; hints, never the run's identity.

    However a path is written, and over whatever link, one file has one place.
    """
    return {
        "tokenizer": settings.tokenizer.resolve().as_posix(),
        "config": settings.config.resolve().as_posix(),
        "train_manifest": [
            Path(parse_argument(each).path).resolve().as_posix() for each in settings.train_manifest
        ],
        "codec": settings.codec.resolve().as_posix() if settings.codec else None,
    }
