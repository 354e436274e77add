"""Reads checkpoints: verifies files and tensors, and decodes the state."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unbroken.checkpoint.document import MAX_DOCUMENT_BYTES
from unbroken.checkpoint.formats import LeafEntry, Manifest, Manifest4, Manifest5
from unbroken.checkpoint.layout import EVIDENCE, FACTS, MANIFEST, STATE, rank_name
from unbroken.checkpoint.manifest import read_manifest
from unbroken.checkpoint.tensor_file import StoredTensor, open_tensors
from unbroken.checkpoint.verify import damaged, verify_file
from unbroken.errors import CheckpointCorrupt, StateMismatch
from unbroken.state.codec import decode
from unbroken.state.digest import bytes_digest, tensor_digest
from unbroken.state.dtypes import DTYPES
from unbroken.state.modules import ModulePart
from unbroken.state.position import Position
from unbroken.state.stored import home
from unbroken.tree import uncompiled_names

HOST = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk with its manifest."""

    path: Path
    manifest: Manifest
    leader: Checkpoint | None = None
    """What the first of several processes saved, where this is what another one did."""

    @classmethod
    def at(cls, path: Path) -> Checkpoint:
        """Open a checkpoint directory by its manifest.

        Raises:
            CheckpointCorrupt: The manifest is missing or damaged.
        """
        manifest = read_manifest(path)
        is_of_another = isinstance(manifest, Manifest5)
        found = cls(path, manifest, cls.at(path.parent) if is_of_another else None)
        _ = found.position
        if found.leader is not None:
            found.leader.require_has(found)
        return found

    @property
    def ranks(self) -> int:
        """How many processes saved it together."""
        return 1 + len(self.manifest.ranks) if isinstance(self.manifest, Manifest4) else 1

    def of_rank(self, rank: int) -> Checkpoint:
        """Return what one of the processes saved, by its number; 0 is the first.

        Raises:
            CheckpointCorrupt: It is missing or damaged.
        """
        return self if rank == 0 else Checkpoint.at(self.path / rank_name(rank))

    def require_has(self, other: Checkpoint) -> None:
        """Compare the manifest of another process with what this one knows of it.

        Raises:
            CheckpointCorrupt: They were not saved together.
        """
        known = self.manifest.ranks if isinstance(self.manifest, Manifest4) else []
        rank = other.manifest.rank if isinstance(other.manifest, Manifest5) else 0
        digest = bytes_digest((other.path / MANIFEST).read_bytes())
        if not 0 < rank <= len(known) or other.path.name != rank_name(rank):
            raise self._corrupt(f"{other.path.name} is not part of it")
        if known[rank - 1] != digest or other.position != self.position:
            raise self._corrupt(f"the manifest of {other.path.name} is not the one that was saved")

    @property
    def position(self) -> Position:
        """The position of the run."""
        return Position.from_state(dict(self.manifest.position))

    @property
    def size(self) -> int:
        """Bytes of its files without the manifest, nor those of other processes."""
        return sum(each.size for each in self.manifest.files.values())

    @property
    def leaves(self) -> Mapping[str, LeafEntry]:
        """Every tensor of the state by its path, those as well that the first process stored."""
        if self.leader is None or not isinstance(self.manifest, Manifest5):
            return self.manifest.leaves
        stored, shared = self.leader.manifest.leaves, self.manifest.shared
        for leaf, digest in shared.items():
            if leaf not in stored or stored[leaf].digest != digest:
                raise self._corrupt(f"{leaf!r:.200} is not stored as its manifest says")
        return {**{leaf: stored[leaf] for leaf in shared}, **self.manifest.leaves}

    def verify(self, report: Callable[[int, int], None] = lambda _done, _total: None) -> None:
        """Read every file and compare its size and digests with the manifest.

        Args:
            report: Called with (bytes read, bytes in total).

        Raises:
            CheckpointUnreadable: The system can't read a file.
            CheckpointCorrupt: A file is missing, a link, of another size, or has other bytes.
        """
        every = [self.of_rank(rank) for rank in range(self.ranks)]
        done, total = 0, sum(each.size for each in every)

        def moved(count: int) -> None:
            nonlocal done
            done += count
            report(done, total)

        for each in every:
            for name, segments in each.manifest.segments.items():
                verify_file(each.path, name, segments, moved)

    def facts(self) -> dict[str, Any]:
        """Return the facts of the run at the save."""
        return self._document(FACTS)

    def evidence(self) -> dict[str, Any]:
        """Return what was observed at the save."""
        found: dict[str, Any] = uncompiled_names(self._document(EVIDENCE))
        return found

    def parts(self, streamed: Collection[str] = (), device: torch.device = HOST) -> dict[str, Any]:
        """Return the state of every part.

        Args:
            streamed: Parts whose tensors stay on the disk until they are used; the caller has to
                compare their digests. Those of other parts are compared here.
            device: That this start trains on: there lie the tensors that did not lie on the host.

        Raises:
            CheckpointCorrupt: A file or a tensor differs from what was saved.
        """
        return {
            name: _decoded(
                each, self.tensors(name) if name in streamed else self._in_memory(name, device)
            )
            for name, each in self._parts().items()
        }

    def part(self, name: str) -> Any:
        """Return the state of one part, with its tensors in memory and verified.

        Raises:
            CheckpointCorrupt: A file or a tensor differs from what was saved.
        """
        return _decoded(self._parts()[name], self._in_memory(name))

    def part_names(self) -> list[str]:
        """Return the names of the parts, in the order they were declared.

        Raises:
            CheckpointCorrupt: The file that lists them is damaged.
        """
        return list(self._parts())

    def load_into(self, module: nn.Module, part: str = "model") -> None:
        """Load the saved state of a module: tensors, modes, and which parameters are trained.

        Args:
            module: A module of the same structure, without wrappers; checked before it is changed.
            part: The name of the module in `Run`.

        Raises:
            StateMismatch: No such part was saved, or its structure differs from the module's.
            CheckpointCorrupt: A file or a tensor differs from what was saved.
        """
        live = ModulePart(part, module)
        is_there = part in self._parts()
        saved = self.part(part) if is_there else None
        found = live.differences(saved) if is_there else [f"it has no part {part!r}"]
        if found:
            raise StateMismatch(
                f"The module doesn't fit {self.path}: {'; '.join(found[:5])}.",
                "It could only be loaded in part. Nothing was changed.",
                "Build the module as the run built it, or name another part or checkpoint.",
            )
        live.restore(saved)

    def digests(self, part: str) -> dict[str, str]:
        """Return the digest of each tensor of a part, by leaf; equal digests mean equal bits."""
        file = f"{part}.safetensors"
        return {leaf: each.digest for leaf, each in self.leaves.items() if each.file == file}

    def stored_parts(self) -> dict[str, Any]:
        """Return the state of every part with its tensors still on the disk.

        Raises:
            CheckpointCorrupt: A file is damaged, or a header doesn't match the manifest.
        """
        return {name: _decoded(each, self.tensors(name)) for name, each in self._parts().items()}

    def _in_memory(self, part: str, device: torch.device = HOST) -> dict[str, torch.Tensor]:
        known = self.leaves
        return {
            leaf: self._read(leaf, each, known[leaf].digest).to(home(each.device, device))
            for leaf, each in self.tensors(part).items()
        }

    def _parts(self) -> dict[str, Any]:
        state = self._json(STATE)
        if not isinstance(state, dict) or set(state) != {"position", "parts"}:
            raise self._corrupt(f"{STATE} does not contain a position and parts")
        if state["position"] != self.manifest.position:
            raise self._corrupt(f"{STATE} and the manifest have different positions")
        parts: dict[str, Any] = state["parts"]
        return parts

    def tensors(self, part: str) -> dict[str, StoredTensor]:
        """Return the tensors of a part by leaf, still on the disk.

        Raises:
            CheckpointCorrupt: The file's header doesn't match the manifest.
        """
        own = self._stored(f"{part}.safetensors")
        if self.leader is None or not isinstance(self.manifest, Manifest5):
            return own
        shared = self.manifest.shared
        others = self.leader.tensors(part).items()
        return {**{leaf: each for leaf, each in others if leaf in shared}, **own}

    def _stored(self, name: str) -> dict[str, StoredTensor]:
        if name not in self.manifest.files:
            return {}
        if (self.path / name).is_symlink():
            raise self._corrupt(f"{name} is a link")
        try:
            tensors = open_tensors(self.path / name)
        except OSError as error:
            raise self._corrupt(f"{name} can't be read: {error}") from error
        expected = {leaf for leaf, each in self.manifest.leaves.items() if each.file == name}
        if expected != set(tensors):
            raise self._corrupt(f"{name} contains other leaves than the manifest says")
        for leaf, tensor in tensors.items():
            entry = self.manifest.leaves[leaf]
            if (DTYPES.get(entry.dtype), entry.shape) != (tensor.dtype, list(tensor.shape)):
                raise self._corrupt(f"{leaf} has another shape or dtype than the manifest says")
        for each in self.manifest.segments[name]:
            if each.leaf is not None and tensors[each.leaf].begin != each.begin:
                raise self._corrupt(f"{each.leaf} has another place than the manifest says")
        return {
            leaf: replace(each, device=self.manifest.device_of(leaf))
            for leaf, each in tensors.items()
        }

    def _read(self, leaf: str, stored: StoredTensor, digest: str) -> torch.Tensor:
        tensor = stored.read()
        if tensor_digest(tensor) != digest:
            raise self._corrupt(f"{leaf} is not the tensor that was saved")
        return tensor

    def _verified(self, name: str) -> Path:
        entry = self.manifest.files.get(name)
        if entry is None:
            raise self._corrupt(f"{name} is not part of it")
        if entry.size > MAX_DOCUMENT_BYTES:
            raise self._corrupt(f"{name} is larger than any file of a checkpoint")
        return verify_file(self.path, name, self.manifest.segments[name])

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
        return damaged(self.path, what)


def _decoded(form: Any, tensors: Mapping[str, Any]) -> Any:
    return uncompiled_names(decode(form, tensors))
