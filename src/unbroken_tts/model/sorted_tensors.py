"""Parts the tensors of a model from an adapter's, and from what is no part of the model."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch

from unbroken import DataInvalid
from unbroken_tts.model.lora import Adapter, adapter_in, is_of_adapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_COPY = re.compile(r"^(?P<module>.+)\.modules_to_save\.(?P<adapter>[^.]+)\.(?P<leaf>.+)$")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(slots=True, kw_only=True)
class SortedTensors:
    """What was found."""

    tensors: dict[str, torch.Tensor]
    """The model's, under plain names."""
    adapter: Adapter | None = None
    """An unmerged adapter."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Why -> names that are no part of the model."""
    bare: list[str] = field(default_factory=list)
    """Layers that were adapted, but whose adapter is not there."""

    def leave_out(self, why: str, names: list[str]) -> None:
        """Note names that were left out."""
        if names:
            self.left_out.setdefault(why, []).extend(names)


def shown(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    # Names come from a foreign file: what a terminal would obey is shown, not sent.
    head = ", ".join(name if name.isprintable() else ascii(name) for name in names[:8])
    return head if len(names) <= 8 else f"{head} and {len(names) - 8} more"


# Why a tensor is no part of the model, by its plain name.
_NOT_OF_THE_MODEL: Final[dict[str, Callable[[str, torch.Tensor], bool]]] = {
    "copies that inference makes": lambda name, _: name.startswith("inference_model."),
    "an embedding that the model replaces": lambda name, _: name.startswith("gpt.wte."),
    "masks of older transformers": lambda name, _: bool(
        re.match(r"gpt\.h\.\d+\.attn\.(bias|masked_bias)$", name)
    ),
    "counters": lambda _, tensor: tensor.dim() == 0 and not tensor.is_floating_point(),
}


def sort_out(tensors: Mapping[str, torch.Tensor], *, origin: str) -> SortedTensors:
    """Part the model's tensors from an adapter's and from what is no part of the model.

    Args:
        tensors: Name -> tensor, without wrappers and prefixes.
        origin: The file, for messages.

    Raises:
        DataInvalid: Two tensors claim one name, or an adapter can't be understood or would be lost.
    """
    result = SortedTensors(tensors=dict(tensors))
    _take_trained_copies(result, origin)
    for why, is_left_out in _NOT_OF_THE_MODEL.items():
        names = [name for name, each in result.tensors.items() if is_left_out(name, each)]
        result.leave_out(why, names)
        _require_no_lost_adapter(names, result.tensors, origin)
        for name in names:
            del result.tensors[name]
    result.adapter = adapter_in(result.tensors, origin=origin)
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in result.tensors.items():
        if is_of_adapter(name):
            continue
        short = name.replace(".base_layer.", ".")
        layer = short.rpartition(".")[0]
        adapted = result.adapter.layers if result.adapter else {}
        if short != name and layer not in adapted and layer not in result.bare:
            result.bare.append(layer)
        if short in plain or (short != name and short in result.tensors):
            raise DataInvalid(
                f"The weights file {origin} has {name} beside {short}.",
                "Which of the two belongs to the model can't be told, so nothing was used.",
                "Save the state_dict of the model with its adapter merged.",
            )
        plain[short] = tensor
    result.tensors = plain
    return result


def _take_trained_copies(result: SortedTensors, origin: str) -> None:
    """Replace modules by the trained copies that peft's `modules_to_save` made of them."""
    adapters = set()
    for name in list(result.tensors):
        found = _COPY.match(name)
        if found is None:
            continue
        adapters.add(found["adapter"])
        module, leaf = found["module"], found["leaf"]
        original = f"{module}.original_module.{leaf}"
        if original in result.tensors:
            del result.tensors[original]
            result.leave_out("replaced by their trained copies", [original])
        result.tensors[f"{module}.{leaf}"] = result.tensors.pop(name)
    if len(adapters) > 1:
        raise DataInvalid(
            f"The weights file {origin} has trained copies of {', '.join(sorted(adapters))}.",
            "Which of them belongs to the model can't be told, so nothing was used.",
            "Save the state_dict with the one adapter that is wanted.",
        )


_NAMES_IN_INFERENCE = {
    "inference_model.transformer.": "gpt.",
    "inference_model.lm_head.0.": "final_norm.",
    "inference_model.lm_head.1.": "mel_head.",
    "inference_model.embeddings.": "mel_embedding.",
    "inference_model.text_pos_embedding.": "mel_pos_embedding.",
}


def _require_no_lost_adapter(
    names: list[str], tensors: Mapping[str, torch.Tensor], origin: str
) -> None:
    """Refuse an adapter that lies only in a copy: left out with it, its training would be lost."""
    for name in filter(is_of_adapter, names):
        own = next(
            (
                name.replace(copy, model, 1)
                for copy, model in _NAMES_IN_INFERENCE.items()
                if copy in name
            ),
            name,
        )
        if not own.startswith("gpt.wte.") and own not in tensors:
            raise DataInvalid(
                f"The weights file {origin} has an adapter only in a copy of the model: {name}.",
                "The copy is made anew for inference, so what was trained would be lost.",
                "Merge the adapter in the program that made it, and save the whole state_dict.",
            )


def unusable_tensors(tensors: Mapping[str, object]) -> dict[str, list[str]]:
    """Return why -> names of values that are no dense floating-point tensors in host memory."""
    found: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        why = _fault(tensor)
        if why:
            found.setdefault(why, []).append(name)
    return found


def _fault(tensor: object) -> str:
    if not isinstance(tensor, torch.Tensor):
        return "other values"
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return "sparse or without values"
    if tensor.is_quantized or not (tensor.is_floating_point() or tensor.is_complex()):
        return "integers (a quantised model?)"
    if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
        return "views of fewer values than they claim"  # a small file could claim any size
    if tensor.dtype not in _DTYPES:
        return f"{tensor.dtype} values".replace("torch.", "")
    return "" if tensor.dim() else "single numbers"
