"""Writing a `gpt.pth` for the inference program: exactly its keys and shapes, in its order."""

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
        Name -> contiguous float32 CPU tensor, in the order of the file. Untrained tensors that are
        so already are passed on as they are, not copied.

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
    """Write tensors to a file that `torch.load(weights_only=True)` reads, whole or not at all.

    Written aside, flushed to the disk and renamed: a reader sees the old file or the new one.

    Args:
        path: Where; an existing file is replaced.
        tensors: What `merge` returned.

    Raises:
        OSError: The disk is full or the directory can't be written.
    """
    with atomic_write(path) as aside, aside.open("xb") as file:
        torch.save(dict(tensors), file)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that owns exactly its values: a view would be saved with all its storage."""
    plain = tensor.detach().to("cpu", torch.float32).contiguous()
    whole = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
    return plain if whole else plain.clone()
