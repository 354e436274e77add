"""The quantiser of a semantic codec, MaskGCT's or that of IndexTTS-2.5: speech features to codes.

RepCodec (Huang et al. 2023, arXiv 2309.00169) with the backbone of Vocos (Siuzdak 2023, arXiv
2306.00814): ConvNeXt blocks (arXiv 2201.03545) over time. The code book is looked up by the cosine
in few dimensions (Yu et al. 2021, arXiv 2110.04627). Only what encodes is here; the decoder makes
features again, which only the inference program needs. Modules have the names of the tensors in the
codec's file. The codec of 2.5 has a convolution before the encoder that halves the rows.

Shape letters: T rows, M codes, W width of the speech features, C width of the backbone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

_KERNEL = 7
_EPSILON = 1e-6


class SemanticQuantiser(nn.Module):
    """Turns the speech features of one recording into codes.

    Args:
        tensors: The tensors of the codec's file; all sizes follow from their shapes. Ignored are
            `decoder.*`, `up.*` and `*.out_project.*`, which make features of codes, and whatever
            else is neither `encoder.*` nor `quantizer.*` (nor `down.*`, if it halves).
        halves: Whether two rows make one code.

    Raises:
        KeyError: A tensor is missing.
        RuntimeError: Shapes don't fit together.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], *, halves: bool = False) -> None:
        super().__init__()
        width, features = tensors["encoder.0.embed.weight"].shape[:2]
        inner = tensors["encoder.0.convnext.0.pwconv1.weight"].shape[0]
        blocks = sum(
            name.startswith("encoder.0.convnext.") and name.endswith(".gamma") for name in tensors
        )
        self.size, dimensions = tensors["quantizer.quantizers.0.codebook.weight"].shape
        self.down = nn.Conv1d(features, features, 3, stride=2, padding=1) if halves else None
        self.encoder = nn.Sequential(
            _Backbone(features, width, inner, blocks), nn.Linear(width, features)
        )
        self.quantizer = nn.ModuleDict(
            {"quantizers": nn.ModuleList([_CodeBook(features, self.size, dimensions)])}
        )
        needed = ("encoder.", "quantizer.", *(["down."] if halves else []))
        own = {
            name: value.float()
            for name, value in tensors.items()
            if name.startswith(needed) and ".out_project." not in name
        }
        self.load_state_dict(own, strict=True)
        self.requires_grad_(requires_grad=False)
        self.eval()

    def forward(self, rows_TW: torch.Tensor) -> torch.Tensor:
        """Return the codes, (M,) int64 in [0, size); M = T, or (T + 1) // 2 if it halves.

        Args:
            rows_TW: (T, W) float32 speech features of one recording.
        """
        if self.down is not None:
            rows_TW = functional.gelu(self.down(rows_TW.T[None]))[0].T  # (T, W) -> (M, W)
        encoded_TW = self.encoder(rows_TW)
        book = self.quantizer["quantizers"][0]  # type: ignore[index] # ModuleDict gives a ModuleList
        codes_M: torch.Tensor = book(encoded_TW)
        return codes_M


class _Backbone(nn.Module):
    def __init__(self, features: int, width: int, inner: int, blocks: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(features, width, _KERNEL, padding=_KERNEL // 2)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.convnext = nn.ModuleList(_ConvNext(width, inner) for _ in range(blocks))
        self.final_layer_norm = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, rows_TW: torch.Tensor) -> torch.Tensor:
        hidden_TC = self.norm(self.embed(rows_TW.T[None])[0].T)
        for block in self.convnext:
            hidden_TC = hidden_TC + block(hidden_TC)
        normal_TC: torch.Tensor = self.final_layer_norm(hidden_TC)
        return normal_TC


class _ConvNext(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.pwconv1 = nn.Linear(width, inner)
        self.pwconv2 = nn.Linear(inner, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, hidden_TC: torch.Tensor) -> torch.Tensor:
        convolved_TC = self.norm(self.dwconv(hidden_TC.T[None])[0].T)
        result_TC: torch.Tensor = self.pwconv2(functional.gelu(self.pwconv1(convolved_TC)))
        return self.gamma * result_TC


class _CodeBook(nn.Module):
    def __init__(self, features: int, size: int, dimensions: int) -> None:
        super().__init__()
        self.in_project = weight_norm(nn.Conv1d(features, dimensions, 1))
        self.codebook = nn.Embedding(size, dimensions)

    def forward(self, encoded_TW: torch.Tensor) -> torch.Tensor:
        sought = functional.normalize(self.in_project(encoded_TW.T[None])[0].T)
        book = functional.normalize(self.codebook.weight)
        # The squared distance of unit vectors, in the order of the original's sum.
        distances = (
            sought.square().sum(1, keepdim=True) - 2 * sought @ book.T + book.square().sum(1)
        )
        return distances.argmin(dim=1)
