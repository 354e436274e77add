"""Finds the recordings most similar to a sound, by MFCC and dynamic time warping.

Warping ignores the tempo, and the coefficients mostly ignore the pitch, so among recordings of one
voice the same sentence is the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from unbroken_tts.prepare.audio import Wave
from unbroken_tts.prepare.mel import BANDS, log_mel
from unbroken_tts.prepare.single_thread import single_thread

Distances = npt.NDArray[np.float64]
"""(N,) float64, 0 for equal recordings, smaller is more alike."""

_COEFFICIENTS = 13
_FRAMES_JOINED = 3


def _cosines() -> torch.Tensor:
    # Rows 1 to 13 of the DCT-II; row 0 is the loudness, which doesn't depend on the words.
    band = torch.arange(BANDS, dtype=torch.float64) + 0.5
    row = torch.arange(1, _COEFFICIENTS + 1, dtype=torch.float64)[:, None]
    return (torch.cos(math.pi / BANDS * row * band) * math.sqrt(2 / BANDS)).float()


def cepstra(wave: Wave) -> npt.NDArray[np.float32]:
    """Return mel-frequency cepstra (Davis and Mermelstein 1980), three frames averaged into one.

    Args:
        wave: (S,) float32 at 22,050 Hz.

    Returns:
        (T, 13) float32; over time, each coefficient has mean 0 and deviation 1.
    """
    with single_thread():
        frames = log_mel(torch.from_numpy(np.ascontiguousarray(wave))) @ _cosines().T
    whole = max(len(frames) // _FRAMES_JOINED, 1)
    joined = frames[: whole * _FRAMES_JOINED].reshape(whole, -1, _COEFFICIENTS).mean(dim=1)
    spread = joined.std(dim=0, correction=0, keepdim=True).clamp(min=1e-3)
    normalised: npt.NDArray[np.float32] = ((joined - joined.mean(dim=0)) / spread).numpy()
    return normalised


def _warped(costs: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64]) -> Distances:
    """Dynamic time warping of one sequence with N others at once (Sakoe and Chiba 1978).

    Works along anti-diagonals: all cells of one depend only on the two before it.

    Args:
        costs: (N, T, S) cost of aligning frame t with frame s of candidate n.
        lengths: (N,) real frames of each candidate, at most S.
    """
    candidates, rows, columns = costs.shape
    before = np.full((candidates, rows + 1), np.inf)
    before[:, 0] = 0.0
    last = np.full((candidates, rows + 1), np.inf)
    result = np.full(candidates, np.inf)
    for diagonal in range(rows + columns - 1):
        low, high = max(0, diagonal - columns + 1), min(diagonal, rows - 1)
        row = np.arange(low, high + 1)
        best = np.minimum(np.minimum(last[:, row + 1], last[:, row]), before[:, row])
        current = np.full((candidates, rows + 1), np.inf)
        current[:, row + 1] = costs[:, row, diagonal - row] + best
        ends = lengths - 1 == diagonal - (rows - 1)
        result[ends] = current[ends, rows]
        before, last = last, current
    return result


def distances(wave: Wave, candidates: Sequence[Wave]) -> Distances:
    """Return the distance of a recording to each candidate.

    Args:
        wave: (S,) float32 at 22,050 Hz.
        candidates: N recordings at the same rate.

    Returns:
        (N,) mean cost per frame of both along the cheapest alignment.
    """
    own = cepstra(wave)
    others = [cepstra(candidate) for candidate in candidates]
    lengths = np.array([len(other) for other in others])
    padded = np.zeros((len(others), lengths.max(), _COEFFICIENTS), dtype=np.float32)
    for place, other in zip(padded, others, strict=True):
        place[: len(other)] = other
    squared = (
        np.square(own).sum(axis=1)[None, :, None]
        + np.square(padded).sum(axis=2)[:, None, :]
        - 2 * np.einsum("tc,nsc->nts", own, padded)
    )
    costs = np.sqrt(np.maximum(squared, 0)).astype(np.float64)
    per_frame: Distances = _warped(costs, lengths) / (len(own) + lengths)
    return per_frame


def distance(first: Wave, second: Wave) -> float:
    """Return the distance of two recordings at 22,050 Hz; 0 for equal ones."""
    return float(distances(first, [second])[0])


def identify(wave: Wave, candidates: Sequence[Wave]) -> list[int]:
    """Return the candidates' indices, the most similar first.

    Args:
        wave: (S,) float32 at 22,050 Hz.
        candidates: Recordings at the same rate.
    """
    return [int(index) for index in np.argsort(distances(wave, candidates), kind="stable")]
