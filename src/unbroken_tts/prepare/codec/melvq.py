"""The embedded codec: each code of a fitted book of 512 stands for four log-mel frames.

It needs no download and is fitted on the recordings themselves. At 22,050 Hz and a hop of 256 four
frames last 46 ms: 21.5 codes per second. Decoding by mel inversion and Griffin-Lim gives
intelligible but buzzy sound.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from unbroken import DataInvalid
from unbroken_tts.prepare.audio import Wave, resampled
from unbroken_tts.prepare.codec.codec import Codes
from unbroken_tts.prepare.codec.kmeans import kmeans, nearest
from unbroken_tts.prepare.mel import BANDS, HOP, SAMPLE_RATE, log_mel
from unbroken_tts.prepare.mel_inversion import griffin_lim, linear_magnitudes
from unbroken_tts.prepare.single_thread import single_thread
from unbroken_tts.progress import Progress, ignore_progress

STACKED_FRAMES = 4
"""Mel frames in a code."""
SIZE = 512
"""Codes in the book."""
_FORMAT = 1
_ITERATIONS = 14
_SEED = 512
_GRIFFIN_LIM_ITERATIONS = 40


def stacked_frames(wave: Wave, rate: int) -> torch.Tensor:
    """Return a recording as vectors of four log-mel frames, padded by repeating the last frame.

    Args:
        wave: (S,) float32 mono.
        rate: Samples per second of `wave`.

    Returns:
        (M, 4 * BANDS) float32.
    """
    samples = torch.from_numpy(np.ascontiguousarray(resampled(wave, rate, SAMPLE_RATE)))
    with single_thread():
        frames = log_mel(samples)
    missing = -len(frames) % STACKED_FRAMES
    frames = torch.cat([frames, frames[-1:].expand(missing, -1)])
    return frames.reshape(-1, STACKED_FRAMES * BANDS)


class MelVq:
    """A fitted book of stacked log-mel frames.

    Args:
        book: (K, 4 * BANDS) float32.
    """

    NAME: ClassVar[str] = "melvq"

    def __init__(self, book: torch.Tensor) -> None:
        self._book = book.contiguous()

    @classmethod
    def fit(
        cls,
        vectors: Iterable[torch.Tensor],
        *,
        size: int = SIZE,
        progress: Progress = ignore_progress,
    ) -> MelVq:
        """Fit a book to recordings.

        Args:
            vectors: The result of `stacked_frames` for each recording.
            size: Number of codes in the book.
            progress: Called with (rounds done, rounds in total).
        """
        with single_thread():
            every = torch.cat(list(vectors))
            book = kmeans(every, size, iterations=_ITERATIONS, seed=_SEED, progress=progress)
        return cls(book)

    @property
    def name(self) -> str:
        """`melvq`."""
        return self.NAME

    @property
    def size(self) -> int:
        """Codes in the book."""
        return len(self._book)

    @property
    def codes_per_second(self) -> float:
        """About 21.5."""
        return SAMPLE_RATE / HOP / STACKED_FRAMES

    @property
    def sample_rate(self) -> int:
        """22,050."""
        return SAMPLE_RATE

    @property
    def can_decode(self) -> bool:
        """True."""
        return True

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the format and the book."""
        digest = hashlib.sha256(f"melvq {_FORMAT} {tuple(self._book.shape)}".encode())
        digest.update(self._book.numpy().astype("<f4").tobytes())
        return digest.hexdigest()

    def encode(self, wave: Wave, rate: int) -> Codes:
        """Return the codes of a recording, (M,) int32 in [0, size); see `Codec.encode`."""
        with single_thread():
            indices, _ = nearest(stacked_frames(wave, rate), self._book)
        return indices.numpy().astype(np.int32)

    def decode(self, codes: Codes) -> Wave:
        """Return sound at 22,050 Hz, deterministically.

        Raises:
            DataInvalid: A code is not in the book.
        """
        if len(codes) == 0:
            return np.zeros(0, dtype=np.float32)
        indices = torch.from_numpy(np.asarray(codes, dtype=np.int64))
        if int(indices.min()) < 0 or int(indices.max()) >= self.size:
            raise DataInvalid(
                f"Codes run from {int(indices.min())} to {int(indices.max())}, "
                f"the book has 0 to {self.size - 1}.",
                "A code outside the book has no sound; start and stop are not codes.",
                "Decode with the codec that made the training data.",
            )
        with single_thread():
            frames = self._book[indices].reshape(-1, BANDS)
            wave = griffin_lim(linear_magnitudes(frames), _GRIFFIN_LIM_ITERATIONS)
        return wave.numpy()

    def save(self, directory: Path) -> None:
        """Write `book.safetensors` and `codec.json` into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file({"book": self._book}, str(directory / "book.safetensors"))
        description = {
            "codec": self.NAME,
            "format": _FORMAT,
            "size": self.size,
            "codes_per_second": self.codes_per_second,
            "sample_rate": SAMPLE_RATE,
            "fingerprint": self.fingerprint,
        }
        text = json.dumps(description, indent=2) + "\n"
        (directory / "codec.json").write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, directory: Path) -> MelVq:
        """Read a saved codec.

        Raises:
            DataInvalid: The book is missing, damaged, or doesn't match its description.
        """
        try:
            description = json.loads((directory / "codec.json").read_text(encoding="utf-8"))
            codec = cls(load_file(str(directory / "book.safetensors"))["book"])
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise DataInvalid(
                f"The codec in {directory} can't be read ({error}).",
                "Its codes can't be decoded without the book.",
                "Restore the directory, or prepare the data again into another one.",
            ) from error
        if codec.fingerprint != description.get("fingerprint"):
            raise DataInvalid(
                f"The book in {directory} has the fingerprint {codec.fingerprint[:16]}, its "
                f"description says {str(description.get('fingerprint'))[:16]}.",
                "Codes made with one book are noise in another.",
                "Restore the directory, or prepare the data again into another one.",
            )
        return codec
