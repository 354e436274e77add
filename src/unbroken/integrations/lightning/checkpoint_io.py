"""The files that Lightning saves, such as those of `ModelCheckpoint`: durable, and read back.

Their content is Lightning's, untouched: `load_from_checkpoint` reads them.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.plugins.io import CheckpointIO
from xxhash import xxh3_64_hexdigest

from unbroken.checkpoint.disk import atomic_write, write_new_file
from unbroken.errors import SaveFailed


class DurableCheckpointIO(CheckpointIO):  # type: ignore[misc]  # its types are not read
    """Writes a file aside, flushes it, reads it back, and renames it.

    What isn't written by Lightning's own `TorchCheckpointIO`, or lies on no local disk, is written as
    the program says.

    Args:
        inner: What the trainer had.
        before: Called with the path of a file that is about to be written.
    """

    def __init__(self, inner: Any, before: Callable[[str], None]) -> None:
        self.inner = inner
        self._before = before

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Save a checkpoint.

        Raises:
            SaveFailed: What was read back is not what was written, or the disk refused.
        """
        self._before(str(path))
        is_ours = type(self.inner) is TorchCheckpointIO and storage_options is None
        if not is_ours or "://" in str(path):
            self.inner.save_checkpoint(checkpoint, path, storage_options)
            return
        content = io.BytesIO()
        torch.save(checkpoint, content)
        _write(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint."""
        loaded: dict[str, Any] = self.inner.load_checkpoint(path, *args, **kwargs)
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        self.inner.remove_checkpoint(path)

    def teardown(self) -> None:
        """End what the trainer had."""
        self.inner.teardown()


def _write(path: Path, content: bytes) -> None:
    try:
        with atomic_write(path, path.with_name(f".{path.name}.tmp")) as new:
            write_new_file(new, [content])
            if xxh3_64_hexdigest(new.read_bytes()) != xxh3_64_hexdigest(content):
                raise SaveFailed(
                    f"{path} was read back, and is not what was written.",
                    "The disk or its driver changes data; the file was not put in place.",
                    "Test the disk, and save to another one.",
                )
    except OSError as error:
        raise SaveFailed(
            f"{path} could not be written: {error}.",
            "The file that was there before, if any, is untouched.",
            "Make room, or give ModelCheckpoint another dirpath; then start the program again.",
        ) from error
