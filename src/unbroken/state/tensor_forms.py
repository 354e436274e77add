"""Tensors that the file format has no form for: taken apart into tensors that it has, and put together.

Sparse and quantised tensors, and complex numbers of double precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unbroken.state.stored import in_memory

_COMPRESSED = {
    str(layout): layout
    for layout in (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
}
_QUANTIZED = {str(each): each for each in (torch.qint8, torch.quint8, torch.qint32)}


def is_plain(tensor: torch.Tensor) -> bool:
    """Say whether a tensor is written as it is."""
    return (
        tensor.layout is torch.strided
        and not tensor.is_quantized
        and not tensor.is_nested
        and tensor.dtype not in (torch.complex128, torch.complex32)
    )


def taken_apart(tensor: torch.Tensor) -> dict[str, Any] | None:
    """Return `form` and the pieces of a tensor, some of which share its memory; None where no form is known."""
    tensor = tensor.detach()
    if tensor.is_nested:
        return None
    if tensor.layout is torch.sparse_coo:
        return {
            "form": "sparse",
            "indices": tensor._indices(),  # noqa: SLF001  # the public one demands a merged tensor
            "values": tensor._values(),  # noqa: SLF001  # likewise
            "shape": list(tensor.shape),
            "is_coalesced": tensor.is_coalesced(),
        }
    if str(tensor.layout) in _COMPRESSED:
        by_rows = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
        return {
            "form": str(tensor.layout),
            "outer": tensor.crow_indices() if by_rows else tensor.ccol_indices(),
            "inner": tensor.col_indices() if by_rows else tensor.row_indices(),
            "values": tensor.values(),
            "shape": list(tensor.shape),
        }
    if tensor.is_quantized and str(tensor.dtype) in _QUANTIZED:
        return _quantized_apart(tensor)
    if tensor.layout is torch.strided and tensor.is_complex():
        whole = tensor.resolve_conj().resolve_neg()
        return {"form": str(tensor.dtype), "parts": torch.view_as_real(whole)}
    return None


def _quantized_apart(tensor: torch.Tensor) -> dict[str, Any] | None:
    found = {"form": str(tensor.dtype), "integers": tensor.int_repr()}
    if tensor.qscheme() is torch.per_tensor_affine:
        return {**found, "scale": tensor.q_scale(), "zero_point": tensor.q_zero_point()}
    if tensor.qscheme() is torch.per_channel_affine:
        return {
            **found,
            "scales": tensor.q_per_channel_scales(),
            "zero_points": tensor.q_per_channel_zero_points(),
            "axis": tensor.q_per_channel_axis(),
        }
    return None


def tensor_from(pieces: Mapping[str, Any]) -> torch.Tensor:
    """Return the tensor that `taken_apart` was given, in host memory.

    Raises:
        ValueError: They are not its pieces.
    """
    form = pieces["form"]
    held = {key: in_memory(each) for key, each in pieces.items()}
    if form == "sparse":
        return torch.sparse_coo_tensor(
            held["indices"],
            held["values"],
            held["shape"],
            is_coalesced=held["is_coalesced"],
            check_invariants=True,
        )
    if form in _COMPRESSED:
        return torch.sparse_compressed_tensor(
            held["outer"],
            held["inner"],
            held["values"],
            held["shape"],
            layout=_COMPRESSED[form],
            check_invariants=True,
        )
    if form in _QUANTIZED:
        return _quantized(held)
    if form in ("torch.complex128", "torch.complex32"):
        return torch.view_as_complex(held["parts"])
    raise ValueError("not a form that is written")


def _quantized(held: Mapping[str, Any]) -> torch.Tensor:
    integers = held["integers"]
    if "axis" in held:
        channels = (integers.shape[held["axis"]],)
        if any(held[key].shape != channels for key in ("scales", "zero_points")):
            raise ValueError("scales of another number of channels")
        return torch._make_per_channel_quantized_tensor(  # noqa: SLF001  # the only way from integers
            integers, held["scales"], held["zero_points"], held["axis"]
        )
    return torch._make_per_tensor_quantized_tensor(  # noqa: SLF001  # likewise
        integers, held["scale"], held["zero_point"]
    )
