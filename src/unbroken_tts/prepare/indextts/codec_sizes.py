"""Compares the file of IndexTTS-2.5's codec with the sizes that `config.yaml` gives it.

All sizes follow from the tensors; but a file that lost its last block would only look like a smaller
codec, and its codes would be others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from unbroken import DataInvalid

_SECTION: Final = "semantic_codec"
_BLOCK = "encoder.0.convnext."
_BOOK = "quantizer.quantizers."

Tensors = Mapping[str, torch.Tensor]


def _counted(tensors: Tensors, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)})


_SIZES: Final[dict[str, Callable[[Tensors], int]]] = {
    "codebook_size": lambda tensors: tensors[f"{_BOOK}0.codebook.weight"].shape[0],
    "codebook_dim": lambda tensors: tensors[f"{_BOOK}0.codebook.weight"].shape[1],
    "hidden_size": lambda tensors: tensors["encoder.1.weight"].shape[0],
    "vocos_dim": lambda tensors: tensors["encoder.0.embed.weight"].shape[0],
    "vocos_intermediate_dim": lambda tensors: tensors[f"{_BLOCK}0.pwconv1.weight"].shape[0],
    "vocos_num_layers": lambda tensors: _counted(tensors, _BLOCK),
    "num_quantizers": lambda tensors: _counted(tensors, _BOOK),
    "downsample_scale": lambda tensors: 2 if "down.weight" in tensors else 1,
}


def require_declared_sizes(path: Path, tensors: Tensors, config: Path) -> None:
    """Compare the tensors of a codec with the section `semantic_codec` of a configuration.

    Args:
        path: The codec's file, for messages.
        tensors: Those of a codec that could be built.
        config: The `config.yaml`; sizes that it doesn't give are not compared.

    Raises:
        DataInvalid: They differ.
    """
    document: Any = yaml.safe_load(config.read_text(encoding="utf-8"))
    section = document.get(_SECTION) if isinstance(document, dict) else None
    declared = section if isinstance(section, dict) else {}
    found = {name: size(tensors) for name, size in _SIZES.items()}
    different = [
        f"{name} {found[name]}, not {declared[name]}"
        for name in _SIZES
        if name in declared and declared[name] != found[name]
    ]
    if different:
        raise DataInvalid(
            f"The semantic codec {path} has {'; '.join(different)} as {config} says.",
            "Codes of another codec are noise to the model.",
            "Use the codec.pth and the config.yaml of one folder of IndexTTS-2.5.",
        )
