"""JSON documents of a checkpoint: how large one may be, for who writes it as for who reads it."""

from __future__ import annotations

from collections.abc import Mapping

from unbroken.errors import SaveFailed

MAX_DOCUMENT_BYTES = 64_000_000
"""Largest JSON that is read into memory; what is large in a state are tensors."""


def require_readable(documents: Mapping[str, bytes]) -> None:
    """Refuse to write what no start would read.

    Args:
        documents: The bytes of each by file name.

    Raises:
        SaveFailed: One of them is too large.
    """
    for name, content in documents.items():
        if len(content) > MAX_DOCUMENT_BYTES:
            raise SaveFailed(
                f"The {name} of a checkpoint would have {len(content) / 1e6:.1f} MB, more than the "
                f"{MAX_DOCUMENT_BYTES / 1e6:.0f} MB that are read back.",
                "No start could read it, so it was not made visible; the last checkpoint is "
                "untouched.",
                "Keep what is large in a state as tensors or numpy arrays: lists, texts and a great "
                "many small arrays are written as JSON.",
            )
