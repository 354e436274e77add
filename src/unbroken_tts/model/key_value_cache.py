"""A key-value cache for a batch of sequences of unequal length."""

from __future__ import annotations

import torch


class KeyValueCache:
    """Preallocated keys and values of every layer: first the prefix, then one row per sample.

    Replaces the cache of `transformers`, of which the blocks only call `update`. Letters: B samples,
    H heads, S rows, d width of a head.

    Args:
        room: Largest number of rows of a sequence, including the prefix.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._stored: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._places: torch.Tensor | None = None
        self._used = 0

    def open(self, lengths: torch.Tensor) -> torch.Tensor:
        """Set the position of the next row of each sequence.

        Args:
            lengths: (B,) int64: the number of rows of each sequence so far.

        Returns:
            (B, 1, 1, keys) bool: the keys that the next row may see, including its own.
        """
        self._places = lengths
        self._used += 1
        keys = torch.arange(self._used, device=lengths.device)
        return (keys <= lengths[:, None])[:, None, None, :]

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the rows of a layer and return all keys and values to attend to.

        Args:
            keys: (B, H, S, d): the prefix, or one row per sample after `open`.
            values: Likewise.
            layer: Index of the layer.

        Returns:
            Keys and values: the prefix itself, or all that are stored, (B, H, keys, d).
        """
        if self._places is None:
            self._stored[layer] = (self._roomy(keys), self._roomy(values))
            self._used = keys.shape[2]
            return keys, values
        stored_keys, stored_values = self._stored[layer]
        samples = torch.arange(len(self._places), device=keys.device)
        stored_keys[samples, :, self._places] = keys[:, :, 0]
        stored_values[samples, :, self._places] = values[:, :, 0]
        return stored_keys[:, :, : self._used], stored_values[:, :, : self._used]

    def _roomy(self, rows: torch.Tensor) -> torch.Tensor:
        samples, heads, count, width = rows.shape
        roomy = rows.new_zeros(samples, heads, self.room, width)
        roomy[:, :, :count] = rows
        return roomy
