"""Writes a `gpt.pth` for the inference program, with exactly the keys and shapes it expects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unbroken import DataInvalid, SettingsInvalid, atomic_write
from unbroken_tts.model.archive import read_archive
from unbroken_tts.model.base import base_weights, check_base
from unbroken_tts.model.gpt_file import gpt_file_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unbroken_tts.model.config import GptConfig
    from unbroken_tts.model.gpt import VoiceGpt

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""The precisions of an exported file, by name."""


def merge(
    model: VoiceGpt, untrained_encoders: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Join the trained model, its frozen rows and the untrained encoders.

    Args:
        model: The trained part.
        untrained_encoders: By name.

    Returns:
        Name -> contiguous float32 CPU tensor, in the order of the file. Untrained tensors that
        already have this form are not copied.

    Raises:
        SettingsInvalid: The encoders are not those of the model's configuration.
    """
    tensors = {**untrained_encoders, **model.table()}
    shapes = gpt_file_shapes(model.config, model.vocabulary)
    faults = [
        f"{name}: {list(tensors[name].shape) if name in tensors else 'missing'} for {list(shape)}"
        for name, shape in shapes.items()
        if name not in tensors or tuple(tensors[name].shape) != shape
    ]
    if faults or len(tensors) != len(shapes):
        faults += [f"{name}: surplus" for name in tensors if name not in shapes]
        raise SettingsInvalid(
            f"The untrained encoders do not fit the model: {'; '.join(faults[:12])}.",
            "The inference program loads strictly and would refuse the file.",
            "Export with the base checkpoint that the run was started from.",
        )
    return {name: _plain(tensors[name]) for name in shapes}


def write_gpt_pth(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors atomically to a file that `torch.load(weights_only=True)` reads.

    The file is written under another name, fsynced and renamed: a reader sees the old or the new one.

    Args:
        path: The file; an existing one is replaced.
        tensors: The result of `merge`.

    Raises:
        OSError: The disk is full or the directory can't be written.
    """
    with atomic_write(path) as aside, aside.open("xb") as file:
        torch.save(dict(tensors), file)


def converted(tensors: Mapping[str, torch.Tensor], dtype: str) -> dict[str, torch.Tensor]:
    """Return the tensors in another precision.

    Args:
        tensors: The result of `merge`; finite values.
        dtype: A key of `DTYPES`.

    Raises:
        SettingsInvalid: A value is too large for the precision; it would become infinite.
    """
    found = {name: tensor.to(DTYPES[dtype]) for name, tensor in tensors.items()}
    lost = [
        name
        for name, tensor in found.items()
        if tensor.isinf().any() and not tensors[name].isinf().any()
    ]
    if lost:
        raise SettingsInvalid(
            f"{len(lost)} tensors have values that {dtype} can't hold, first {lost[0]}.",
            "They would become infinite, and so would all speech of the model.",
            "Export in bfloat16 or float32 (--dtype).",
        )
    return found


def prove_written(
    path: Path, tensors: Mapping[str, torch.Tensor], config: GptConfig, vocabulary: int
) -> None:
    """Import a written `gpt.pth` again, and compare it with the list of keys and shapes and with
    the tensors that were to be written, bit for bit.

    Args:
        path: The file.
        tensors: What was written.
        config: The model.
        vocabulary: Pieces of the tokenizer.

    Raises:
        DataInvalid: The file differs from what was to be written.
    """  # noqa: D205 - one sentence
    found = read_archive(path)
    check_base(base_weights(found, origin=str(path)), config, vocabulary)
    shapes = gpt_file_shapes(config, vocabulary)
    other = [name for name in tensors if name not in found or not _same(tensors[name], found[name])]
    if list(found) != list(shapes) or other:
        raise DataInvalid(
            f"{path} is not what was written: {', '.join(other[:8]) or 'other names or order'}.",
            "The inference program would speak with other weights than those of the run.",
            "Check the disk, and export again.",
        )


def _same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Return whether two tensors have one dtype, one shape and the same bits (NaN included)."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return torch.equal(left.contiguous().view(torch.uint8), right.contiguous().view(torch.uint8))


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without excess storage: a view would be saved with all of its storage."""
    plain = tensor.detach().to("cpu", torch.float32).contiguous()
    whole = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
    return plain if whole else plain.clone()
