"""Writes a `gpt.pth` for the inference program, with exactly the keys and shapes it expects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unbroken import SettingsInvalid, atomic_write
from unbroken_tts.model.gpt_file import gpt_file_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unbroken_tts.model.gpt import VoiceGpt


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


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without excess storage: a view would be saved with all of its storage."""
    plain = tensor.detach().to("cpu", torch.float32).contiguous()
    whole = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
    return plain if whole else plain.clone()
