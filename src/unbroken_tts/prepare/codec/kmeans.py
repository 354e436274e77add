"""Deterministic k-means in plain torch."""

from __future__ import annotations

import numpy as np
import torch

from unbroken import permutation
from unbroken_tts.progress import Progress, ignore_progress

_CHUNK = 4_096


def nearest(vectors: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest centre of each vector and its squared distance.

    Args:
        vectors: (N, D) float32.
        centres: (K, D) float32.

    Returns:
        (N,) int64 indices, the lowest among equals, and (N,) float32 squared distances.
    """
    indices, distances = [], []
    half_norms = 0.5 * centres.square().sum(dim=1)
    for chunk in torch.split(vectors, _CHUNK):
        scores = half_norms - chunk @ centres.T  # half the squared distance, less half of |x|^2
        # numpy guarantees the first of equals; torch does not.
        best = torch.from_numpy(scores.numpy().argmin(axis=1))
        indices.append(best)
        smallest = scores.gather(1, best[:, None]).squeeze(1)
        distances.append(2 * smallest + chunk.square().sum(dim=1))
    return torch.cat(indices), torch.cat(distances).clamp(min=0)


def _means(vectors: torch.Tensor, labels: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    sums = torch.zeros(centres.shape, dtype=torch.float64).index_add_(0, labels, vectors.double())
    counts = torch.bincount(labels, minlength=len(centres))
    means = (sums / counts.clamp(min=1)[:, None]).float()
    return torch.where(counts[:, None] > 0, means, centres)


def kmeans(
    vectors: torch.Tensor,
    count: int,
    *,
    iterations: int,
    seed: int,
    progress: Progress = ignore_progress,
) -> torch.Tensor:
    """Fit centres to vectors by Lloyd's algorithm.

    The first centres are vectors chosen by a hash of the seed. A centre without vectors moves to
    the vector that is farthest from its centre.

    Args:
        vectors: (N, D) float32, N > 0.
        count: Number of centres K. With fewer different vectors, the surplus centres repeat the last.
        iterations: Rounds of assigning and averaging.
        seed: Seed for the first centres.
        progress: Called with (rounds done, rounds in total).

    Returns:
        (K, D) float32. Bit-identical for equal arguments under `single_thread`.
    """
    if len(vectors) <= count:
        different = torch.from_numpy(np.unique(vectors.numpy(), axis=0))
        surplus = different[-1:].expand(count - len(different), -1)
        return torch.cat([different, surplus])
    centres = vectors[torch.from_numpy(permutation(len(vectors), seed)[:count])].clone()
    for done in range(1, iterations + 1):
        labels, distances = nearest(vectors, centres)
        centres = _means(vectors, labels, centres)
        empty = torch.bincount(labels, minlength=count).eq(0).nonzero().squeeze(1)
        worst = distances.argsort(descending=True, stable=True)[: len(empty)]
        centres[empty] = vectors[worst]
        progress(done, iterations)
    return centres
