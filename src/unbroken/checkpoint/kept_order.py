"""The lists of a sampler that can't be drawn again: one file for each epoch, in the run's directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unbroken.checkpoint import disk
from unbroken.checkpoint.layout import Layout
from unbroken.errors import CheckpointCorrupt
from unbroken.state.codec import decode, encode

OLD_EPOCHS = 2
"""How many epochs before the present one keep their lists: an older checkpoint may be resumed."""


class KeptOrder:
    """Keeps the lists of a run.

    Args:
        layout: The run's directory.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def read(self, epoch: int) -> list[tuple[Any, ...]] | None:
        """Return the batches of an epoch, as the sampler gave them; None where none are kept.

        Raises:
            CheckpointCorrupt: The file is damaged.
        """
        path = self._path(epoch)
        try:
            content = json.loads(path.read_bytes())
            return [tuple(each) for each in decode(content["batches"], {})]
        except FileNotFoundError:
            return None
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
            CheckpointCorrupt,
        ) as error:
            raise CheckpointCorrupt(
                f"{path} can't be read: {error}.",
                "It holds the order of this epoch's samples, which the sampler can't give again.",
                "Resume from a checkpoint of an earlier epoch, or begin a new run from the weights.",
            ) from error

    def keep(self, epoch: int, batches: Sequence[tuple[Any, ...]]) -> None:
        """Keep the batches of an epoch, durably, and drop those of epochs that are long over.

        Raises:
            NotEncodable: An index of the sampler's can't be written as it is.
            OSError: The disk can't be written.
        """
        form = encode([list(each) for each in batches], "order", {})
        disk.make_directory(self._layout.order)
        disk.replace_file(self._path(epoch), json.dumps({"batches": form}).encode())
        if epoch > OLD_EPOCHS:
            disk.remove_tree(self._path(epoch - OLD_EPOCHS - 1))

    def _path(self, epoch: int) -> Path:
        return self._layout.order / f"epoch-{epoch:08}.json"
