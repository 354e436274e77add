"""How strongly a LoRA adapter acts: from peft's `adapter_config.json`, or from a number given."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from unbroken import DataInvalid, SettingsInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME: Final = "adapter_config.json"
"""The file that peft writes beside an adapter."""

_LARGEST = 1_000_000

# Options that don't change what an adapter adds to a weight, or that are read below. Any other one
# that is set may change it, so such an adapter is refused by the name of the option.
_UNDERSTOOD: Final = (
    "peft_type auto_mapping base_model_name_or_path revision task_type inference_mode r "
    "target_modules exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora "
    "modules_to_save init_lora_weights layers_to_transform layers_pattern rank_pattern "
    "alpha_pattern megatron_core loftq_config eva_config corda_config lora_ga_config use_dora "
    "lora_bias peft_version qalora_group_size ensure_weight_tying runtime_config"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """The factor of each adapted layer: alpha over rank (Hu et al. 2021, section 4.1)."""

    origin: str
    """Where the numbers came from, for messages."""
    alpha: float
    rank: int | None = None
    """The adapter's rank, where known; the tensors must have it."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """Pattern of a layer's name -> its own alpha."""
    ranks: Mapping[str, float] = field(default_factory=dict)
    """Pattern of a layer's name -> its own rank."""
    is_rank_stabilised: bool = False
    """Alpha over the square root of the rank instead (Kalajdzievski 2023, rsLoRA)."""
    is_dora: bool | None = None
    """Whether it has magnitudes (Liu et al. 2024, DoRA); None where unknown."""

    def __str__(self) -> str:
        """Describe it for people."""
        kind = " over the root of the rank" if self.is_rank_stabilised else ""
        some = f", others for {', '.join(self.alphas)}" if self.alphas else ""
        return f"alpha {self.alpha:g}{kind}{some} ({self.origin})"

    def of(self, layer: str, rank: int) -> float:
        """Return the factor of a layer whose tensors have this rank.

        Raises:
            DataInvalid: The rank is another one than the configuration's.
        """
        expected = _by_pattern(self.ranks, layer, self.rank)
        if expected is not None and expected != rank:
            raise DataInvalid(
                f"{layer} has an adapter of rank {rank}, {self.origin} says {expected:g}.",
                "The configuration belongs to another adapter, so its alpha would act wrongly.",
                f"Put the {NAME} of this adapter beside the file.",
            )
        alpha = _by_pattern(self.alphas, layer, self.alpha)
        assert alpha is not None
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def strength_of(path: Path, alpha: float | None) -> Strength:
    """Return how strongly the adapter in a file acts.

    Args:
        path: The file of weights; a configuration beside it is used.
        alpha: As named by the user; None if not.

    Raises:
        DataInvalid: The configuration is damaged, or of an adapter that can't be merged here.
        SettingsInvalid: There is neither a configuration nor a number, or they differ.
    """
    place = path.parent / NAME
    if not place.is_file():
        if alpha is None:
            raise SettingsInvalid(
                f"The weights file {path} has an unmerged LoRA adapter, and its alpha is unknown.",
                "What the adapter adds is multiplied by alpha over rank; without it the layers "
                "would be those of before the training.",
                f"Put the adapter's {NAME} beside the file, or give --adapter-alpha NUMBER.",
            )
        return Strength(origin="--adapter-alpha", alpha=alpha)
    found = _strength(place, _document(place))
    if alpha is not None and alpha != found.alpha:
        raise SettingsInvalid(
            f"--adapter-alpha is {alpha:g}, {place} says {found.alpha:g}.",
            "One of them would make the adapter act more or less than in its training.",
            f"Omit --adapter-alpha, or put the right {NAME} beside the file.",
        )
    return found


def _document(place: Path) -> dict[str, Any]:
    try:
        with place.open("rb") as file:
            document = json.loads(file.read(_LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(place, f"can't be read ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(document, dict):
        raise _unusable(place, "is no JSON object")
    return document


def _strength(place: Path, document: dict[str, Any]) -> Strength:
    if document.get("peft_type") != "LORA":
        raise _unusable(place, f"is of the kind {document.get('peft_type')!r}; only LORA is merged")
    # False, None, an empty list: the option is not set.
    odd = sorted(
        name for name, value in document.items() if value and name not in _UNDERSTOOD.split()
    )
    if odd:
        raise _unusable(place, f"sets {', '.join(odd[:5])}, which this program doesn't know")
    return Strength(
        origin=str(place),
        alpha=_number(place, "lora_alpha", document.get("lora_alpha"), least=None),
        rank=int(_number(place, "r", document.get("r"), least=1)),
        alphas=_patterns(place, "alpha_pattern", document, least=None),
        ranks=_patterns(place, "rank_pattern", document, least=1),
        is_rank_stabilised=bool(document.get("use_rslora")),
        is_dora=bool(document.get("use_dora")),
    )


def _number(place: Path, name: str, value: Any, *, least: int | None) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or (least is not None and value < least):
        raise _unusable(place, f"has {name} = {value!r}, which is no usable number")
    return float(value)


def _patterns(
    place: Path, name: str, document: dict[str, Any], *, least: int | None
) -> dict[str, float]:
    found = document.get(name) or {}
    if not isinstance(found, dict):
        raise _unusable(place, f"has a {name} that is no object")
    for pattern in found:
        try:
            re.compile(pattern)
        except re.error as error:
            raise _unusable(place, f"has {pattern!r} in {name}, no pattern ({error})") from error
        # Patterns come from a foreign file: repeated groups and many repetitions can take for ever.
        if re.search(r"\)[*+{]", pattern) or len(re.findall(r"[*+{]", pattern)) > 3:
            raise _unusable(place, f"has {pattern!r} in {name}, too complex a pattern")
    return {key: _number(place, name, value, least=least) for key, value in found.items()}


def _by_pattern(patterns: Mapping[str, float], layer: str, default: float | None) -> float | None:
    """Return the value of the first pattern that matches the end of a layer's name, as in peft.

    Where peft wrapped the transformer alone, its names begin inside of it.
    """
    for pattern, value in patterns.items():
        shape = re.compile(rf"(.*\.)?({pattern})$")
        if shape.match(layer) or shape.match(layer.removeprefix("gpt.")):
            return value
    return default


def _unusable(place: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"{place} {what}.",
        "The adapter's strength follows from it, so the adapter can't be merged.",
        "Merge the adapter in the program that made it (peft: `merge_and_unload()`), and save the "
        "whole model's state_dict.",
    )
