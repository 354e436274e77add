"""The probe: a small batch that is kept with the run, and the losses the model gives it.

Its tensors are written once, when the run begins, so that what is measured never depends on the
data that lie there later. It is measured in evaluation mode and isolated: nothing outside changes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from unbroken.checkpoint import disk
from unbroken.checkpoint.file_image import header_bytes
from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.tensor_file import read_tensors
from unbroken.errors import CheckpointCorrupt
from unbroken.loop.isolation import isolated
from unbroken.state.digest import host_bytes, tensor_digest
from unbroken.tree import unwrap

Tensors = Mapping[str, torch.Tensor]

_log = logging.getLogger("unbroken")

SEED = 0x50524F4245
"""Of the generators while the probe is measured; a model in evaluation mode should use none."""


class Probe:
    """Measures the losses of one small batch.

    Args:
        batch: Its tensors by name, on the host; a few samples are enough.
        losses: Given the tensors, the losses by name; each a number or a 0-dim tensor.
        modules: Put into evaluation mode meanwhile.
    """

    def __init__(
        self,
        batch: Tensors,
        losses: Callable[[Tensors], Mapping[str, torch.Tensor | float]],
        modules: Sequence[nn.Module],
    ) -> None:
        self.batch = dict(batch)
        self.losses = losses
        self.modules = [unwrap(each) for each in modules]
        self._is_kept_damaged = False

    def take_kept(self, layout: Layout) -> None:
        """Use the batch that is kept with the run, where there is one that can be read.

        With another batch nothing can be compared, and the check of a resume says so.
        """
        try:
            if layout.probe_file.is_file():
                self.batch = read_tensors(layout.probe_file)
        except CheckpointCorrupt as error:
            self._is_kept_damaged = True
            _log.warning("%s The probe of this start is another one.", error.what)

    def keep(self, layout: Layout) -> None:
        """Write the batch beside the run, once, or in the place of a damaged one.

        Raises:
            OSError: The disk refused.
        """
        if layout.probe_file.is_file() and not self._is_kept_damaged:
            return
        tensors = {name: each.contiguous() for name, each in self.batch.items()}
        content = [header_bytes(tensors), *(bytes(host_bytes(each)) for each in tensors.values())]
        disk.replace_file(layout.probe_file, b"".join(content))

    def digest(self) -> str:
        """Return a digest of the batch: names and tensors."""
        text = "\n".join(f"{name} {tensor_digest(each)}" for name, each in self.batch.items())
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def measure(self) -> dict[str, float]:
        """Return the losses by name, as float64."""
        with isolated(*self.modules, seed=SEED), torch.no_grad():
            return {name: float(each) for name, each in self.losses(self.batch).items()}


def probed(probe: Probe | None) -> dict[str, Any]:
    """Return what a probe measures now, as evidence; nothing where there is none."""
    if probe is None:
        return {}
    batch = {"probe_batch": probe.digest()}
    try:
        return {"probe": probe.measure(), **batch}
    except Exception as error:  # noqa: BLE001  # whatever the model raises, the state is whole
        _log.warning("The probe could not be measured: %s", error)
        return {"probe_failed": f"{type(error).__name__}: {str(error)[:200]}", **batch}
