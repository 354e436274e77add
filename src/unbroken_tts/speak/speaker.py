"""Finds the conditioning of a voice: of a speaker in the data, of a file, or of a recording."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare.audio import read_audio
from unbroken_tts.prepare.conditioning import MelStat
from unbroken_tts.prepare.mel import SAMPLE_RATE
from unbroken_tts.prepare.plan import DESCRIPTION

_MANY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """The conditioning for an utterance to speak."""

    condition: torch.Tensor
    """(C, D) float32, or (1, 192) with speaker vectors."""
    emo_vec: torch.Tensor
    """(D,) float32."""


def speaker_of(
    how: str, emotion: str | None, manifests: Sequence[str], config: GptConfig
) -> Speaker:
    """Return the conditioning of a speaker.

    Args:
        how: A speaker's name or an utterance's id in the manifests, a `.npy` file of conditioning
            rows, or a recording.
        emotion: The same for the emotion alone; a `.npy` file then contains an emotion vector.
            None uses the speaker's own.
        manifests: Paired manifests in which to look up names.
        config: Defines the shapes.

    Raises:
        DataInvalid: A file is unreadable or of another shape.
        SettingsInvalid: There is no such speaker.
    """
    found = _one(how, manifests, config, needs_emotion=emotion is None)
    if emotion is None:
        return found
    if emotion.endswith(".npy"):
        return replace(found, emo_vec=_array(Path(emotion), (config.model_dim,)))
    other = _one(emotion, manifests, config, needs_emotion=True)
    return replace(found, emo_vec=other.emo_vec)


def _one(how: str, manifests: Sequence[str], config: GptConfig, *, needs_emotion: bool) -> Speaker:
    path = Path(how)
    shape, width = config.condition_shape, (config.model_dim,)
    if how.endswith(".npy"):
        vector = path.parent.parent / "emo_vec" / path.name
        if needs_emotion and not vector.is_file():
            raise SettingsInvalid(
                f"{path} is conditioning, and {vector} with its emotion vector does not exist.",
                "The model needs both.",
                "Name an emotion with --emotion: a .npy file, a recording or a speaker.",
            )
        emotion = _array(vector, width) if needs_emotion else torch.zeros(width)
        return Speaker(condition=_array(path, shape), emo_vec=emotion)
    if path.is_file():
        _require_melstat(manifests, config)
        conditioner = _melstat(config)
        made = conditioner.condition(read_audio(path, SAMPLE_RATE), SAMPLE_RATE)
        return Speaker(
            condition=torch.from_numpy(made.condition), emo_vec=torch.from_numpy(made.emo_vec)
        )
    return _named(how, manifests, config)


def _melstat(config: GptConfig) -> MelStat:
    return MelStat(*config.condition_shape, emotion_width=config.model_dim)


def _named(how: str, manifests: Sequence[str], config: GptConfig) -> Speaker:
    pairs = load_pairs(manifests) if manifests else None
    places = range(len(pairs)) if pairs else range(0)
    for column in (pairs.speakers, pairs.prompt_ids) if pairs else ():
        for place in places:
            if column[place] == how:
                assert pairs is not None
                return Speaker(
                    condition=_array(Path(pairs.condition_paths[place]), config.condition_shape),
                    emo_vec=_array(Path(pairs.emo_paths[place]), (config.model_dim,)),
                )
    raise SettingsInvalid(
        f"There is no speaker {how!r} in the training data and no file of that name.",
        "The model needs the conditioning of a voice.",
        f"Name a recording, a .npy file of conditioning, {_choices(how, pairs.speakers)}."
        if pairs
        else "Name a recording or a .npy file; for a speaker's name give --manifest too.",
    )


def _choices(how: str, speakers: Iterable[str]) -> str:
    names = sorted({name for name in speakers if name})
    near = difflib.get_close_matches(how, names, n=3)
    shown = near or names[:_MANY]
    more = f" ({len(names)} in all)" if len(shown) < len(names) else ""
    return f"or one of: {', '.join(shown)}{more}" if names else "or the id of an utterance"


def _array(path: Path, shape: tuple[int, ...]) -> torch.Tensor:
    try:
        array: Any = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataInvalid(
            f"{path} can't be read as an array ({' '.join(str(error).split())}).",
            "It was named as the conditioning of the voice.",
            "Name a .npy file in the form that `unbroken-tts prepare` writes.",
        ) from error
    is_number = isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.floating)
    if not is_number or array.shape != shape or not np.isfinite(array).all():
        form = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "no array"
        raise DataInvalid(
            f"{path} contains {form}; the model needs finite float32 {list(shape)}.",
            "This model can't use conditioning of another model or of another kind.",
            "Name an array that was prepared for this model.",
        )
    return torch.from_numpy(array.astype(np.float32))


def _require_melstat(manifests: Sequence[str], config: GptConfig) -> None:
    """Refuse a recording if the training data has another kind of conditioning."""
    wanted = _melstat(config).fingerprint
    for manifest in manifests:
        path = Path(manifest).parent / DESCRIPTION
        if not path.is_file():
            continue
        known = json.loads(path.read_text(encoding="utf-8")).get("conditioner")
        if known != wanted:
            raise SettingsInvalid(
                f"The training data beside {manifest} was conditioned by {str(known)[:16]}, not by "
                "the embedded statistics.",
                "The voice wasn't trained on the conditioning that a recording would give it.",
                "Name a speaker of the training data, or a .npy file made by that conditioner.",
            )
