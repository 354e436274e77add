"""Tells IndexTTS-2.5 from IndexTTS2 2.0 by the tensors of `gpt.pth`.

The `config.yaml` that 2.5 ships says version 2.0, and describes a speaker encoder that 2.5 doesn't have.
"""

from __future__ import annotations

from pathlib import Path

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.model.config import SPEAKER_WIDTH, GptConfig
from unbroken_tts.model.gpt_file import LANGUAGE_TENSOR, SPEAKER_TENSOR
from unbroken_tts.model.published_forms import find_published
from unbroken_tts.model.weights_file import open_weights_file


def language_rows_of(gpt: Path) -> int:
    """Return the rows of the language table of a `gpt.pth`: 107 in 2.5, 0 in 2.0, which has none.

    Only names and shapes are looked at, and whatever else the file is, is another's to judge.

    Raises:
        DataInvalid: The file is damaged, or has one of the two tensors by which 2.5 is told, or has
            them in another shape.
        SettingsInvalid: It has several sets of weights.
    """
    published = find_published(open_weights_file(gpt).content, origin=str(gpt))
    tensors = published.tensors if published is not None else {}
    shapes = [
        tuple(tensors[each].shape) for each in (SPEAKER_TENSOR, LANGUAGE_TENSOR) if each in tensors
    ]
    if not shapes:
        return 0
    if [*map(len, shapes)] != [2, 2] or shapes[0] != (shapes[1][1], SPEAKER_WIDTH):
        told = " and ".join(
            f"{each} {list(tensors[each].shape)}" if each in tensors else f"no {each}"
            for each in (SPEAKER_TENSOR, LANGUAGE_TENSOR)
        )
        raise DataInvalid(
            f"The weights file {gpt} has {told}.",
            f"A model of IndexTTS-2.5 has {SPEAKER_TENSOR} [D, {SPEAKER_WIDTH}] and {LANGUAGE_TENSOR} [R, D].",
            "Copy gpt.pth of IndexTTS-2.5 again.",
        )
    return shapes[1][0]


def config_for(config: GptConfig, language_rows: int, gpt: Path) -> GptConfig:
    """Return a configuration with what only the tensors of a `gpt.pth` tell.

    Args:
        config: As `config.yaml` has it.
        language_rows: The result of `language_rows_of`.
        gpt: The file, for messages.

    Raises:
        SettingsInvalid: The configuration says that it is for the other version.
    """
    if config.takes_speaker_vectors and config.language_rows != language_rows:
        has = f"{language_rows} language rows" if language_rows else "no language table"
        raise SettingsInvalid(
            f"The configuration has {config.language_rows} language rows, {gpt} has {has}.",
            "Features of IndexTTS-2.5 are noise to a model of 2.0, and those of 2.0 to one of 2.5.",
            "Use the config.yaml that belongs to the gpt.pth.",
        )
    if not language_rows:
        return config
    told = {"spk_cond_mode": "campplus", "language_rows": language_rows, "speed_rows": False}
    return config.updated(told, origin=str(gpt))
