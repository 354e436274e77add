"""The samples of one or several manifests as columns: one tuple or array per field.

With one object per sample, a manifest of 150,000 pairs would take ten times the time and memory.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

ROLES = ("text_paths", "code_paths", "condition_paths", "emo_paths")
"""The four path columns, in the order of the second axis of `Pairs.digests`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """N training samples; every column but `manifests` has N entries in manifest order."""

    manifests: tuple[str, ...]
    """The manifests as the user named them, without their language suffixes."""
    manifest_numbers: npt.NDArray[np.int32]
    """(N,) index into `manifests`."""
    line_numbers: npt.NDArray[np.int32]
    """(N,) line within the manifest, counting from 1."""
    ids: tuple[str, ...]
    """Pair ids; the preflight checks that they are unique."""
    target_ids: tuple[str, ...]
    """Utterance that is spoken; the pair id if the line names none."""
    prompt_ids: tuple[str, ...]
    """Utterance of the prompt; empty if the line names none."""
    text_paths: tuple[str, ...]
    """npy of the target's text ids; absolute, as are all paths."""
    code_paths: tuple[str, ...]
    """npy of the target's codes."""
    condition_paths: tuple[str, ...]
    """npy of the prompt's speaker conditioning."""
    emo_paths: tuple[str, ...]
    """npy of the prompt's emotion vector (the target's, where the line has no prompt's)."""
    text_lengths: npt.NDArray[np.int64]
    """(N,) text tokens T by the line; after the preflight, by the array."""
    code_lengths: npt.NDArray[np.int64]
    """(N,) codes M by the line; after the preflight, by the array, or by the recording if trimmed."""
    languages: tuple[str, ...]
    """Lower case; empty if neither line nor manifest suffix names one."""
    speakers: tuple[str, ...]
    """Empty if the line names none."""
    texts: tuple[str | None, ...]
    """The stored text of the ids (perhaps before normalisation), or None."""
    digests: npt.NDArray[np.uint8] | None = None
    """(N, 4, 16) digest of each sample's arrays in the order of `ROLES`; None before preflight."""

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, index: int) -> str:
        """Return `manifest:line` of one sample, for messages."""
        manifest = self.manifests[int(self.manifest_numbers[index])]
        return f"{manifest}:{int(self.line_numbers[index])}"

    def select(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Self:
        """Return the samples at `indices`, in that order.

        Raises:
            IndexError: An index is out of range.
        """
        chosen = [int(index) for index in indices]
        columns: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            if field.name == "manifests" or column is None:
                continue
            if isinstance(column, tuple):
                columns[field.name] = tuple(column[index] for index in chosen)
            else:
                columns[field.name] = column[chosen]
        return replace(self, **columns)
