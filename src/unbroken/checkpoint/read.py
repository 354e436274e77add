"""Reading a checkpoint back: verified file by file, then leaf by leaf, then decoded."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unbroken.checkpoint.layout import EVIDENCE, FACTS, STATE
from unbroken.checkpoint.manifest import Manifest, read_manifest
from unbroken.checkpoint.tensor_file import StoredTensor, open_tensors
from unbroken.errors import CheckpointCorrupt
from unbroken.state.codec import decode
from unbroken.state.digest import file_digest, tensor_digest
from unbroken.state.dtypes import DTYPES
from unbroken.state.position import Position


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk whose manifest was read."""

    path: Path
    manifest: Manifest

    @classmethod
    def at(cls, path: Path) -> Checkpoint:
        """Open a checkpoint directory by its manifest.

        Raises:
            CheckpointCorrupt: The manifest is missing or damaged.
        """
        found = cls(path, read_manifest(path))
        _ = found.position
        return found

    @property
    def position(self) -> Position:
        """Where the run stood."""
        return Position.from_state(dict(self.manifest.position))

    def verify(self) -> None:
        """Read every file and compare its size and digest with the manifest.

        Raises:
            CheckpointCorrupt: A file is missing, a link, of another size, or has other bytes.
        """
        for name in self.manifest.files:
            self._verified(name)

    def facts(self) -> dict[str, Any]:
        """Return the facts of the run at the save."""
        return self._document(FACTS)

    def evidence(self) -> dict[str, Any]:
        """Return what was observed at the save."""
        return self._document(EVIDENCE)

    def parts(self, streamed: Collection[str] = ()) -> dict[str, Any]:
        """Return the state of every part.

        Args:
            streamed: Parts whose tensors stay on the disk until they are wanted; whoever takes them
                compares their digests afterwards. Of the others they are compared here.

        Raises:
            CheckpointCorrupt: A file or a leaf is not what was saved.
        """
        return {
            name: decode(each, self._tensors(name) if name in streamed else self._in_memory(name))
            for name, each in self._parts().items()
        }

    def part(self, name: str) -> Any:
        """Return the state of one part, its tensors in memory and compared with their digests.

        Raises:
            CheckpointCorrupt: A file or a leaf is not what was saved.
        """
        return decode(self._parts()[name], self._in_memory(name))

    def _in_memory(self, part: str) -> dict[str, torch.Tensor]:
        return {leaf: self._read(leaf, each) for leaf, each in self._tensors(part).items()}

    def _parts(self) -> dict[str, Any]:
        state = self._json(STATE)
        if not isinstance(state, dict) or set(state) != {"position", "parts"}:
            raise self._corrupt(f"{STATE} does not hold a position and parts")
        if state["position"] != self.manifest.position:
            raise self._corrupt(f"{STATE} and the manifest speak of different positions")
        parts: dict[str, Any] = state["parts"]
        return parts

    def _tensors(self, part: str) -> dict[str, StoredTensor]:
        name = f"{part}.safetensors"
        if name not in self.manifest.files:
            return {}
        try:
            tensors = open_tensors(self.path / name)
        except OSError as error:
            raise self._corrupt(f"{name} can't be read: {error}") from error
        expected = {leaf for leaf, each in self.manifest.leaves.items() if each.file == name}
        if expected != set(tensors):
            raise self._corrupt(f"{name} holds other leaves than the manifest says")
        for leaf, tensor in tensors.items():
            entry = self.manifest.leaves[leaf]
            if (DTYPES.get(entry.dtype), entry.shape) != (tensor.dtype, list(tensor.shape)):
                raise self._corrupt(f"{leaf} has another shape or dtype than the manifest says")
        return tensors

    def _read(self, leaf: str, stored: StoredTensor) -> torch.Tensor:
        tensor = stored.read()
        if tensor_digest(tensor) != self.manifest.leaves[leaf].digest:
            raise self._corrupt(f"{leaf} is not the tensor that was saved")
        return tensor

    def _verified(self, name: str) -> Path:
        path, entry = self.path / name, self.manifest.files.get(name)
        if entry is None:
            raise self._corrupt(f"{name} is not part of it")
        try:
            if path.is_symlink() or not path.is_file():
                raise self._corrupt(f"{name} is missing")
            if path.stat().st_size != entry.size:
                raise self._corrupt(f"{name} has {path.stat().st_size} bytes, not {entry.size}")
            if file_digest(path) != entry.digest:
                raise self._corrupt(f"the bytes of {name} are not the ones that were saved")
        except OSError as error:
            raise self._corrupt(f"{name} can't be read: {error}") from error
        return path

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self._verified(name).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise self._corrupt(f"{name} can't be read: {error}") from error

    def _document(self, name: str) -> dict[str, Any]:
        found = decode(self._json(name), {})
        if not isinstance(found, dict):
            raise self._corrupt(f"{name} is not an object")
        return found

    def _corrupt(self, what: str) -> CheckpointCorrupt:
        return CheckpointCorrupt(
            f"Checkpoint {self.path} is damaged: {what}.",
            "Loading it would continue from a state that no training ever had.",
            "Use --resume auto, which takes the newest checkpoint that is whole.",
        )
