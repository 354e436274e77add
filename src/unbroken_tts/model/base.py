"""Loads the weights that a run starts from, in whatever form they were published."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from unbroken import DataInvalid, SettingsInvalid, counted
from unbroken_tts.model.adapter_config import strength_of
from unbroken_tts.model.families import SUPPORTED, family_of, told_by
from unbroken_tts.model.gpt_file import TEXT_TENSORS, is_trained, trained_shapes, untrained_shapes
from unbroken_tts.model.lora import is_of_adapter
from unbroken_tts.model.published_forms import (
    FormChoice,
    Published,
    find_published,
    merge_adapter,
)
from unbroken_tts.model.sorted_tensors import shown, unusable_tensors
from unbroken_tts.model.weights_file import open_weights_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    """Name -> float32 tensor of the untrained encoders; mapped where the file has float32."""
    vocabulary: int
    """Number of pieces of its tokenizer: rows of the text tables minus the spare one."""
    notes: tuple[str, ...] = ()
    """Remarks on the file, to be printed: what was left out, merged or converted."""

    def config_for(self, config: GptConfig) -> GptConfig:
        """Return the configuration with what only the file tells; see `families.told_by`."""
        shapes = {name: tuple(each.shape) for name, each in self.trained.items()}
        return config.updated(told_by(shapes), origin=f"the model of {self.origin}")


def read_base(path: Path, choice: FormChoice | None = None) -> BaseWeights:
    """Read weights: a `gpt.pth`, a checkpoint of the earlier trainer, or what other programs save.

    Nothing in the file is executed. `docs/indextts2.md` lists the forms.

    Args:
        path: A torch archive, safetensors, or the index of several files.
        choice: What the file doesn't say itself.

    Raises:
        DataInvalid: The file is missing, damaged, foreign, or contains what can't be used.
        SettingsInvalid: It has several sets of weights, or an adapter of unknown strength.
    """
    choice = choice or FormChoice()
    published = _published(path, choice)
    tensors, merge_note = merge_adapter(published, path, choice.adapter_alpha)
    notes = [*published.notes(), *filter(None, [merge_note])]
    return base_weights(tensors, origin=str(path), notes=[f"{path}: {each}" for each in notes])


def require_readable(path: Path, choice: FormChoice) -> None:
    """Refuse a file that `read_base` would refuse by its form, without reading a tensor.

    Raises:
        DataInvalid: The file is missing, damaged or foreign.
        SettingsInvalid: It is of another family, has several sets of weights, or an adapter of
            unknown strength.
    """
    published = _published(path, choice)
    if published.adapter is not None:
        strength_of(path, choice.adapter_alpha)
    _require_supported(published.tensors, str(path))


def shapes_of(path: Path, choice: FormChoice) -> dict[str, Shape]:
    """Return the names and shapes in a file that `read_base` reads, without reading a tensor.

    Raises:
        DataInvalid: The file is missing, damaged or foreign.
        SettingsInvalid: It has several sets of weights.
    """
    return {name: tuple(each.shape) for name, each in _published(path, choice).tensors.items()}


def _published(path: Path, choice: FormChoice) -> Published:
    content = open_weights_file(path).content
    published = find_published(content, origin=str(path), entry=choice.entry)
    if published is None:
        if any(is_of_adapter(str(name)) for name in content):
            raise DataInvalid(
                f"The weights file {path} is a LoRA adapter without the weights that it adapts.",
                "Alone it is no model.",
                "Merge it in the program that made it (peft: `merge_and_unload()`), and save the "
                "whole model's state_dict.",
            )
        raise _foreign(str(path), f"has no text embedding; it has {shown([*content]) or 'nothing'}")
    return published


def base_weights(
    tensors: Mapping[str, Any], *, origin: str, notes: Sequence[str] = ()
) -> BaseWeights:
    """Check and split a state dict.

    Args:
        tensors: Plain name -> tensor; whatever else stands there is refused.
        origin: The file it came from, for messages.
        notes: Remarks so far.

    Raises:
        DataInvalid: It is not the state of such a model.
        SettingsInvalid: It is the state of another family of models.
    """
    for why, names in unusable_tensors(tensors).items():
        raise _foreign(origin, f"has {why} instead of floating-point tensors: {shown(names)}")
    _require_supported(tensors, origin)
    missing = [name for name in _REQUIRED if name not in tensors]
    if missing:
        raise _foreign(origin, f"lacks {shown(missing)}")
    rows = {name: tensors[name].shape[0] for name in TEXT_TENSORS}
    if len(set(rows.values())) != 1 or rows[TEXT_TENSORS[0]] < 2:
        raise _foreign(origin, f"has text tables whose numbers of rows differ: {rows}")
    converted = [
        f"{origin}: {counted(count, 'tensor')} of {dtype} read as float32"
        for dtype, count in Counter(
            str(each.dtype).removeprefix("torch.") for each in tensors.values()
        ).items()
        if dtype != "float32"
    ]
    return BaseWeights(
        origin=origin,
        trained={name: value.float() for name, value in tensors.items() if is_trained(name)},
        untrained_encoders={
            name: value.float() for name, value in tensors.items() if not is_trained(name)
        },
        vocabulary=rows[TEXT_TENSORS[0]] - 1,
        notes=(*notes, *converted),
    )


def _require_supported(tensors: Mapping[str, torch.Tensor], origin: str) -> None:
    """Refuse another family by its name, not by the hundreds of shapes that differ."""
    family = family_of({name: tuple(each.shape) for name, each in tensors.items()})
    if family is not None and family.layout not in SUPPORTED:
        trained = " and ".join(SUPPORTED)
        raise SettingsInvalid(
            f"The weights file {origin} is a model of {family.name}.",
            f"This program trains models of {trained}; {family.difference}.",
            f"Name the gpt.pth of {SUPPORTED[0]}, or of {SUPPORTED[1]}.",
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


def _foreign(origin: str, what: str) -> DataInvalid:
    return DataInvalid(
        f"The weights file {origin} {what}.",
        "It is not the state of an IndexTTS2-style GPT, so nothing of it was used.",
        "Name a gpt.pth, latest.pth or model_step{N}.pth of such a model.",
    )
