"""The formats of a manifest; everything that differs between them is in this module.

Format 2, which is written, has a digest for the head of each file and one for each tensor, so every
byte is digested once. Format 3, which is written where tensors lay on a device, also names the device.
Format 4, which is written where several processes train, has the digests of their manifests as well; a
manifest of one of them but the first has format 5. Format 1, which can still be read, has a digest of
each file and another one of each tensor.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from unbroken.checkpoint.segment import Segment
from unbroken.state.digest import bytes_digest
from unbroken.state.dtypes import DTYPES, byte_count

FORMAT: Literal[2] = 2
"""The format that is written where all tensors lay on the host."""
FORMAT_WITH_DEVICES: Literal[3] = 3
"""The format that is written where some lay on a device."""

TENSORS: Final = ".safetensors"
"""Suffix of the files with tensors."""

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Device = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}(:[0-9]{1,3})?$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class NotTiled(ValueError):
    """The tensors of a manifest don't fill their files without gap or overlap."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Strict):
    """One file of the checkpoint, in every format."""

    size: Count
    """Bytes."""
    digest: Digest
    """XXH3-128: in format 1 of the whole file, in format 2 of its head."""


class FileWithHeader(FileEntry):
    """One file in format 2."""

    head: Count
    """Bytes before its first tensor: the header, or the whole file if it has no tensors."""


class LeafEntry(_Strict):
    """One tensor of the state, in every format."""

    file: str
    dtype: str
    shape: list[Count]
    digest: Digest
    """XXH3-128 of the captured bytes, row-major."""


class PlacedLeaf(LeafEntry):
    """One tensor in format 2."""

    begin: Count
    """Its first byte in the file."""
    device: Device | None = None
    """Where it lay, unless on the host."""


class Manifest(_Strict):
    """The content of a checkpoint, in every format."""

    format: int
    run_id: str
    start: Count
    """Number of the start that wrote it, from 1."""
    created: float
    """Seconds since 1970, UTC."""
    position: dict[str, Count]
    metrics: dict[str, float]
    """Scores measured at this position, such as `val_loss`; lower is better."""
    verified_from: Literal["device", "cache"] = "cache"
    """Whether the files were read back from the device or from the system's cache."""
    files: Mapping[str, FileEntry]
    leaves: Mapping[str, LeafEntry]

    def device_of(self, leaf: str) -> str | None:
        """Return where a tensor lay; None where all lay on the host, or nothing tells."""
        del leaf
        return None

    @property
    @abstractmethod
    def segments(self) -> Mapping[str, list[Segment]]:
        """Return the segments of each file, in order, by file name.

        Raises:
            NotTiled: The tensors don't fill the files.
        """

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON, closed by a digest over itself."""
        return closed(self.model_dump(exclude_none=True))


class Manifest1(Manifest):
    """Format 1: a file is one segment with one digest."""

    format: Literal[1]

    @cached_property
    def segments(self) -> Mapping[str, list[Segment]]:
        """Return the segments of each file; see `Manifest`."""
        return {
            name: [Segment(leaf=None, begin=0, size=entry.size, digest=entry.digest)]
            for name, entry in self.files.items()
        }


class Manifest2(Manifest):
    """Format 2: a file is its head and its tensors, each with a digest."""

    format: Literal[2]
    files: Mapping[str, FileWithHeader]
    leaves: Mapping[str, PlacedLeaf]

    def device_of(self, leaf: str) -> str | None:
        """Return where a tensor lay; None where all lay on the host, or nothing tells."""
        return (self.leaves[leaf].device or "cpu") if self._tells_devices else None

    @cached_property
    def _tells_devices(self) -> bool:
        return any(each.device for each in self.leaves.values())

    @cached_property
    def segments(self) -> Mapping[str, list[Segment]]:
        """Return the segments of each file; see `Manifest`."""
        tensors: dict[str, list[Segment]] = {name: [] for name in self.files}
        for leaf, entry in self.leaves.items():
            if entry.file not in tensors or not entry.file.endswith(TENSORS):
                raise NotTiled(f"it has no file of tensors {entry.file!r:.60} for {leaf!r:.200}")
            if entry.dtype not in DTYPES:
                raise NotTiled(f"the dtype of {leaf!r:.200} is {entry.dtype!r:.60}")
            size = byte_count(entry.shape, DTYPES[entry.dtype])
            tensors[entry.file].append(
                Segment(leaf=leaf, begin=entry.begin, size=size, digest=entry.digest)
            )
        # An empty tensor precedes the one that begins at the same byte.
        found = {n: sorted(each, key=lambda s: (s.begin, s.size)) for n, each in tensors.items()}
        for name, file in self.files.items():
            found[name].insert(0, Segment(leaf=None, begin=0, size=file.head, digest=file.digest))
            _require_tiled(name, found[name], file.size)
        return found


class Manifest3(Manifest2):
    """Format 3: as format 2, and tells of each tensor that lay on a device which one that was."""

    format: Literal[3]  # type: ignore[assignment]  # a number tells the formats apart


class Manifest4(Manifest3):
    """Format 4: as format 3, of the first of several processes."""

    format: Literal[4]  # type: ignore[assignment]  # a number tells the formats apart
    ranks: list[Digest]
    """Of the manifests of the other processes, in their order."""


class Manifest5(Manifest3):
    """Format 5: as format 3, of another process; what equals the first one's is not stored again."""

    format: Literal[5]  # type: ignore[assignment]  # a number tells the formats apart
    rank: Count
    """Number of the process, from 1."""
    shared: dict[str, Digest]
    """Tensors that equal the first process's, and lie in its files."""


def new_manifest(*, leaves: Mapping[str, PlacedLeaf], **content: Any) -> Manifest2:
    """Return the manifest of a new checkpoint, in the lowest format that can tell all of it.

    Args:
        leaves: Every tensor that is stored.
        content: The other fields, but for the format; `ranks`, or `rank` and `shared`, where several
            processes save together.
    """
    if "ranks" in content:
        return Manifest4(format=4, leaves=leaves, **content)
    if "rank" in content:
        return Manifest5(format=5, leaves=leaves, **content)
    if any(each.device for each in leaves.values()):
        return Manifest3(format=FORMAT_WITH_DEVICES, leaves=leaves, **content)
    return Manifest2(format=FORMAT, leaves=leaves, **content)


KNOWN: Final[Mapping[str, type[Manifest]]] = {
    "1": Manifest1,
    "2": Manifest2,
    "3": Manifest3,
    "4": Manifest4,
    "5": Manifest5,
}
"""The formats that can be read, by the `repr` of their number: 2.0 and "2" don't match."""


def _require_tiled(name: str, segments: Iterable[Segment], size: int) -> None:
    at = 0
    for each in segments:
        if each.begin != at:
            raise NotTiled(f"{each.leaf!r:.200} begins at byte {each.begin} of {name}, not at {at}")
        at = each.end
    if at != size:
        raise NotTiled(f"{name} has {size} bytes, its head and its tensors take {at}")


CLOSED: Final = re.compile(rb'\{"digest": "([0-9a-f]{32})",\n"manifest": (.*)\}\n', re.DOTALL)
"""The form of a manifest's bytes: a digest, and the bytes it covers."""


def closed(content: dict[str, Any]) -> bytes:
    """Return the bytes of a manifest with this content."""
    body = json.dumps(content, indent=1, sort_keys=True)
    digest = bytes_digest(body.encode())
    return f'{{"digest": "{digest}",\n"manifest": {body}}}\n'.encode()
