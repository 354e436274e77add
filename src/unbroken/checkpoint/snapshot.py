"""A run's state at one instant: of the live tensors, and copied into host memory."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from unbroken.checkpoint.file_image import FileImage, HostCopy
from unbroken.checkpoint.late_copy import LateCopy
from unbroken.checkpoint.layout import EVIDENCE, FACTS, STATE
from unbroken.state.codec import encode
from unbroken.state.digest import tensor_digests
from unbroken.state.dtypes import dtype_name
from unbroken.state.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run's state at one instant."""

    run_id: str
    start: int
    position: Position
    parts: Mapping[str, Any]
    """The state by part; the tensors may be the live ones while training is paused."""
    facts: Mapping[str, Any]
    evidence: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    only_updated: Collection[str] = ()
    """Leaves that only an update of an optimiser changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    """A snapshot that is independent of the live state: tensors copied, the rest encoded."""

    run_id: str
    start: int
    position: Position
    metrics: dict[str, float]
    documents: dict[str, bytes]
    """State, facts and evidence as JSON, by file name."""
    images: dict[str, FileImage]
    """The content of the tensor files, by name."""
    leaves: dict[str, tuple[str, str, list[int], str | None]]
    """File, dtype, shape, and the device if it isn't the host, of every tensor."""
    late: LateCopy
    """Copies that are still to be made before `images` is complete."""
    live: Mapping[str, str] = field(default_factory=dict)
    """Digests of the live tensors at the capture, if they were computed to verify the copy."""

    @property
    def size(self) -> int:
        """Size of the checkpoint in bytes, without its manifest."""
        return sum(map(len, self.documents.values())) + sum(i.size for i in self.images.values())


def tensor_files(
    parts: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]]:
    """Return the parts in the codec's form, and their tensors by file name and leaf path.

    Raises:
        NotEncodable: A part contains something that can't be encoded exactly.
    """
    state: dict[str, Any] = {}
    files: dict[str, dict[str, torch.Tensor]] = {}
    for part, value in parts.items():
        tensors: dict[str, torch.Tensor] = {}
        state[part] = encode(value, part, tensors)
        if tensors:
            files[f"{part}.safetensors"] = tensors
    return state, files


def copy_to_host(
    snapshot: Snapshot, host: HostCopy, *, prove: bool = False, overlap: bool = False
) -> HostSnapshot:
    """Copy a snapshot into host memory; it is complete on return, except for `late`.

    Args:
        snapshot: The state; its tensors are the live ones.
        host: Memory that every save reuses; its content is overwritten.
        prove: Also compute digests of the live tensors, with which `commit` compares the files.
        overlap: Copy later, behind a fence, what only updates change.

    Raises:
        NotEncodable: The state contains something that can't be encoded exactly.
    """
    state, files = tensor_files(snapshot.parts)
    documents = {
        STATE: {"position": snapshot.position.state_dict(), "parts": state},
        FACTS: encode(dict(snapshot.facts), "facts", {}),
        EVIDENCE: encode(dict(snapshot.evidence), "evidence", {}),
    }
    images, late = host.capture(files, snapshot.only_updated if overlap else ())
    return HostSnapshot(
        run_id=snapshot.run_id,
        start=snapshot.start,
        position=snapshot.position,
        metrics=dict(snapshot.metrics),
        documents={name: _as_json(each) for name, each in documents.items()},
        images=images,
        leaves={
            leaf: (name, dtype_name(each, leaf), list(each.shape), _device_of(each))
            for name, tensors in files.items()
            for leaf, each in tensors.items()
        },
        late=late,
        live=tensor_digests(dict(ChainMap(*files.values()))) if prove else {},
    )


def _device_of(tensor: torch.Tensor) -> str | None:
    return None if tensor.device.type == "cpu" else str(tensor.device)


def _as_json(document: Any) -> bytes:
    # Without indentation, since that needs Python's slow encoder, which blocks the training thread.
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
