"""Merges LoRA adapters that lie unmerged in a state dict into the weights that they adapt.

    W' = W + s B A, s = alpha / rank (Hu et al. 2021, section 4.1)
    W' = m (W + s B A) / |W + s B A| (Liu et al. 2024, equation 5), where there are magnitudes m: DoRA

Letters: R rank, I inputs, O outputs of a layer. peft keeps A as (R, I) and B as (O, R), of
convolutions (R, I, kernel) and (O, R, 1); for an embedding of N rows (R, N) and (O, R). A weight of
the GPT's layers is (I, O), of any other (O, I, kernel); of an embedding (N, O).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unbroken import DataInvalid, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unbroken_tts.model.adapter_config import Strength

_NAME = re.compile(
    r"^(?P<layer>.+)\.(?P<part>lora_[A-Za-z_]+?)"
    r"(\.(?P<adapter>(?!(weight|bias)$)[^.]+))?(\.(?P<leaf>weight|bias))?$"
)
_PARTS = {
    ("lora_A", "weight"): "A",
    ("lora_B", "weight"): "B",
    ("lora_B", "bias"): "bias",
    ("lora_embedding_A", "weight"): "embedding A",
    ("lora_embedding_B", "weight"): "embedding B",
    ("lora_magnitude_vector", "weight"): "magnitude",
}
_INPUT_MAJOR = re.compile(r"^gpt\.h\.\d+\.(attn|mlp)\.c_\w+$")
"""Layers of the GPT: `Conv1D` of transformers, whose weight is (I, O)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter as it lies in a state dict."""

    name: str
    """Its name; `default` where the file has none."""
    layers: dict[str, dict[str, torch.Tensor]]
    """Adapted layer -> part (`A`, `B`, `bias`, `embedding A`, `embedding B`, `magnitude`) -> tensor."""

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks of its layers, ascending."""
        found = [parts.get("A", parts.get("embedding A")) for parts in self.layers.values()]
        return tuple(sorted({each.shape[0] for each in found if each is not None and each.dim()}))

    def __str__(self) -> str:
        """Describe it for people."""
        ranks = ", ".join(map(str, self.ranks))
        kind = "DoRA" if any("magnitude" in parts for parts in self.layers.values()) else "LoRA"
        return f"{kind} adapter `{self.name}` of {counted(len(self.layers), 'layer')}, rank {ranks}"


def is_of_adapter(name: str) -> bool:
    """Return whether a tensor of this name belongs to a LoRA adapter."""
    return ".lora_" in name


def adapter_in(tensors: Mapping[str, torch.Tensor], *, origin: str) -> Adapter | None:
    """Return the adapter among the tensors of a file; None if there is none.

    Raises:
        DataInvalid: There are several, or parts of one that this program doesn't know.
    """
    layers: dict[str, dict[str, torch.Tensor]] = {}
    names, odd = set(), []
    for name, tensor in tensors.items():
        if not is_of_adapter(name):
            continue
        found = _NAME.match(name)
        part = _PARTS.get((found["part"], found["leaf"] or "weight")) if found else None
        if found is None or part is None:
            odd.append(name)
            continue
        names.add(found["adapter"] or "default")
        layers.setdefault(found["layer"], {})[part] = tensor
    if odd:
        raise _refusal(origin, f"has {odd[0]}, a part of a LoRA adapter that is not known here")
    if len(names) > 1:
        raise _refusal(origin, f"has several LoRA adapters: {', '.join(sorted(names))}")
    return Adapter(name=names.pop(), layers=layers) if layers else None


def merged(
    tensors: Mapping[str, torch.Tensor], adapter: Adapter, strength: Strength, *, origin: str
) -> dict[str, torch.Tensor]:
    """Return the tensors with an adapter merged, computed in float32.

    Args:
        tensors: The other tensors of the file under plain names, without `base_layer.`.
        adapter: The adapter.
        strength: How strongly it acts.
        origin: The file, for messages.

    Raises:
        DataInvalid: A part is missing or has an impossible shape.
    """
    result = dict(tensors)
    for layer, parts in adapter.layers.items():
        weight, bias = f"{layer}.weight", f"{layer}.bias"
        if weight not in result:
            raise _refusal(origin, f"has a LoRA adapter for {layer}, but not that layer's weight")
        has_magnitude = "magnitude" in parts
        if strength.is_dora is not None and strength.is_dora != has_magnitude:
            found = "has" if has_magnitude else "lacks"
            raise _refusal(origin, f"{found} DoRA magnitudes of {layer}, unlike {strength.origin}")
        result[weight] = _adapted(layer, result[weight], parts, strength, origin)
        if "bias" in parts:
            if bias not in result or parts["bias"].shape != result[bias].shape or has_magnitude:
                raise _refusal(origin, f"has an adapter's bias that {layer} has no place for")
            factor = strength.of(layer, parts["A"].shape[0])
            result[bias] = result[bias].float() + factor * parts["bias"].float()
    return result


def _adapted(
    layer: str,
    weight: torch.Tensor,
    parts: Mapping[str, torch.Tensor],
    strength: Strength,
    origin: str,
) -> torch.Tensor:
    is_embedding = "embedding A" in parts or "embedding B" in parts
    prefix = "embedding " if is_embedding else ""
    is_transposed = is_embedding or _INPUT_MAJOR.match(layer) is not None
    try:
        down, up = parts[f"{prefix}A"], parts[f"{prefix}B"]
        rank, outputs = down.shape[0], up.shape[0]
    except (KeyError, IndexError) as error:
        raise _refusal(origin, f"has only parts of a LoRA adapter for {layer}") from error
    shape = (*down.shape[:0:-1], outputs) if is_transposed else (outputs, *down.shape[1:])
    is_whole = down.dim() >= 2 and up.dim() >= 2 and up.numel() == outputs * rank > 0
    if not is_whole or shape != tuple(weight.shape):
        raise _refusal(
            origin,
            f"has a LoRA adapter for {layer} with A {list(down.shape)} and B {list(up.shape)}, "
            f"which doesn't fit its weight {list(weight.shape)}",
        )
    # (O, R) (R, I kernel) -> (O, I kernel)
    product = up.float().reshape(outputs, rank) @ down.float().reshape(rank, -1)
    added = product.T if is_transposed else product.reshape(weight.shape)
    result = weight.float() + strength.of(layer, rank) * added
    if "magnitude" not in parts:
        return result
    magnitude = parts["magnitude"].float().flatten()
    if len(magnitude) != outputs:
        raise _refusal(origin, f"has {len(magnitude)} DoRA magnitudes for {outputs} of {layer}")
    axis = 1 if is_transposed else 0
    others = [each for each in range(result.dim()) if each != axis]
    sizes: torch.Tensor = torch.linalg.vector_norm(result, dim=others, keepdim=True)
    return result * (magnitude.reshape(sizes.shape) / sizes)


def _refusal(origin: str, what: str) -> DataInvalid:
    return DataInvalid(
        f"The weights file {origin} {what}.",
        "An adapter that isn't merged completely would be lost: the weights would be others than "
        "those that were trained.",
        "Merge it in the program that made it (peft: `merge_and_unload()`), and save the whole "
        "model's state_dict.",
    )
