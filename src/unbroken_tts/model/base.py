"""Loads the weights that a run starts from: a `gpt.pth`, or a checkpoint of the earlier trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.model.archive import read_archive
from unbroken_tts.model.gpt_file import TEXT_TENSORS, is_trained, trained_shapes, untrained_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from unbroken_tts.model.config import GptConfig
    from unbroken_tts.model.gpt import VoiceGpt
    from unbroken_tts.model.gpt_file import Shape

_REQUIRED = (*TEXT_TENSORS, "mel_embedding.weight", "mel_head.weight", "gpt.ln_f.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseWeights:
    """The tensors of a weights file, trained and untrained, on the CPU."""

    origin: str
    """The file, for messages."""
    trained: dict[str, torch.Tensor]
    """Name -> float32 tensor of the trained part."""
    untrained_encoders: dict[str, torch.Tensor]
    """Name -> tensor of the untrained encoders, mapped from the file, never copied."""
    vocabulary: int
    """Number of pieces of its tokenizer: rows of the text tables minus the spare one."""

    def config_for(self, config: GptConfig) -> GptConfig:
        """Return the configuration with `speed_rows` as in the file."""
        return config.model_copy(update={"speed_rows": "speed_emb.weight" in self.trained})


def read_base(path: Path) -> BaseWeights:
    """Read a `gpt.pth` (flat, or under `model`) or a checkpoint of the earlier trainer.

    Nothing in the file is executed. Entries of low-rank adapters and duplicates are dropped; the
    names of adapted layers are restored.

    Raises:
        DataInvalid: The file is missing, damaged, foreign, or contains more than tensors.
    """
    content = read_archive(path)
    return base_weights(content.get("model", content), origin=str(path))


def base_weights(state: Any, *, origin: str) -> BaseWeights:
    """Check and split a state dict.

    Args:
        state: Name -> tensor, as read.
        origin: The file it came from, for messages.

    Raises:
        DataInvalid: It is not the state of such a model.
    """
    if not isinstance(state, dict):
        raise _foreign(origin, "has no named tensors")
    tensors = {_restored(name): value for name, value in state.items() if not _is_dropped(name)}
    odd = [name for name, value in tensors.items() if not _is_plain(value)]
    if odd:
        raise _foreign(
            origin, f"has entries that are no dense floating-point tensors: {_some(odd)}"
        )
    missing = [name for name in _REQUIRED if name not in tensors]
    if missing:
        raise _foreign(origin, f"lacks {_some(missing)}")
    rows = {name: tensors[name].shape[0] for name in TEXT_TENSORS}
    if len(set(rows.values())) != 1 or rows[TEXT_TENSORS[0]] < 2:
        raise _foreign(origin, f"has text tables whose numbers of rows differ: {rows}")
    return BaseWeights(
        origin=origin,
        trained={name: value.float() for name, value in tensors.items() if is_trained(name)},
        untrained_encoders={name: value for name, value in tensors.items() if not is_trained(name)},
        vocabulary=rows[TEXT_TENSORS[0]] - 1,
    )


def frozen_rows_of(base_vocabulary: int, vocabulary: int, *, train_base_rows: bool) -> int:
    """Return the number of text rows to freeze: the base's pieces, if there are new ones to train."""
    return base_vocabulary if vocabulary > base_vocabulary and not train_base_rows else 0


def load_base(model: VoiceGpt, base: BaseWeights) -> None:
    """Load the weights of a base into a model.

    Text rows 0 .. V_base - 1 are exactly the base's. If the model's vocabulary is larger, all rows
    after them, including the spare last one, start at the mean of the base's pieces (the base's own
    spare row, which no text uses, is dropped). If it is equal, the spare row is the base's too.

    Raises:
        SettingsInvalid: Names or shapes are not those of the configuration (all are named), or the
            base's vocabulary is larger than the model's.
    """
    check_base(base, model.config, model.vocabulary)
    table = dict(base.trained)
    if model.vocabulary > base.vocabulary:
        for name in TEXT_TENSORS:
            table[name] = _extended(table[name][: base.vocabulary], model.vocabulary + 1)
    model.load_table(table)


def check_base(base: BaseWeights, config: GptConfig, vocabulary: int) -> None:
    """Compare a base with a configuration and the size of a tokenizer.

    Raises:
        SettingsInvalid: They don't fit together.
    """
    if base.vocabulary > vocabulary:
        raise SettingsInvalid(
            f"The base {base.origin} has {base.vocabulary} text tokens, the tokenizer {vocabulary}.",
            "The rows of the missing tokens would be lost, and ids would stand for other pieces.",
            "Use the tokenizer of the base, or one extended from it.",
        )
    expected = trained_shapes(config, base.vocabulary) | untrained_shapes(config)
    faults = _differences(expected, {**base.trained, **base.untrained_encoders})
    if faults:
        raise SettingsInvalid(
            f"The base {base.origin} does not fit the configuration: {'; '.join(faults)}.",
            "Tensors of the model would stay uninitialised or be truncated.",
            "Use the config.yaml that belongs to the base checkpoint.",
        )


def _differences(expected: Mapping[str, Shape], found: Mapping[str, torch.Tensor]) -> list[str]:
    faults = [
        f"{name} is {list(found[name].shape)}, the configuration makes it {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name].shape) != shape
    ]
    faults += [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is surplus" for name in found if name not in expected]
    return faults


def _extended(pieces: torch.Tensor, rows: int) -> torch.Tensor:
    mean = pieces.double().mean(dim=0, keepdim=True).float()
    return torch.cat([pieces, mean.expand(rows - pieces.shape[0], *pieces.shape[1:])])


def _is_dropped(name: object) -> bool:
    text = str(name)
    return text.startswith("inference_model.") or ".lora_" in text or text == "gpt.wte.weight"


def _restored(name: object) -> str:
    return str(name).replace(".base_layer.", ".")


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.is_floating_point()
        and value.dim() > 0
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _foreign(origin: str, what: str) -> DataInvalid:
    return DataInvalid(
        f"The weights file {origin} {what}.",
        "It is not the state of an IndexTTS2-style GPT, so nothing of it was used.",
        "Name a gpt.pth, latest.pth or model_step{N}.pth of such a model.",
    )
