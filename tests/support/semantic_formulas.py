"""The quantiser of a semantic codec by its formulas, from the tensors of its file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def quantised(
    table: dict[str, torch.Tensor], rows: torch.Tensor
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Codes of features (1, T, 1024) by the formulas of the quantiser."""

    def norm(at: str, hidden: torch.Tensor) -> torch.Tensor:
        weight, bias = table[f"{at}.weight"], table[f"{at}.bias"]
        return torch.nn.functional.layer_norm(hidden, weight.shape, weight, bias, 1e-6)

    def linear(at: str, hidden: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(hidden, table[f"{at}.weight"], table[f"{at}.bias"])

    def conv(at: str, hidden: torch.Tensor, groups: int = 1) -> torch.Tensor:
        weight, bias = table[f"{at}.weight"], table[f"{at}.bias"]
        image = torch.nn.functional.conv1d(
            hidden.transpose(1, 2), weight, bias, padding=3, groups=groups
        )
        return image.transpose(1, 2)

    hidden = norm("encoder.0.norm", conv("encoder.0.embed", rows))
    for block in range(2):
        at = f"encoder.0.convnext.{block}"
        inner = linear(f"{at}.pwconv1", norm(f"{at}.norm", conv(f"{at}.dwconv", hidden, 12)))
        inner = linear(f"{at}.pwconv2", torch.nn.functional.gelu(inner))
        hidden = hidden + table[f"{at}.gamma"] * inner
    encoded = linear("encoder.1", norm("encoder.0.final_layer_norm", hidden))
    book = "quantizer.quantizers.0"
    direction, length = table[f"{book}.in_project.weight_v"], table[f"{book}.in_project.weight_g"]
    weight = (length * direction / direction.norm(dim=1, keepdim=True)).squeeze(-1)
    sought = torch.nn.functional.linear(encoded, weight, table[f"{book}.in_project.bias"])
    normal = torch.nn.functional.normalize(table[f"{book}.codebook.weight"])
    cosine = torch.nn.functional.normalize(sought, dim=-1) @ normal.T
    return cosine.argmax(dim=-1)[0].numpy()
