"""What a codec is: the seam between sound and the whole numbers that the model learns."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from unbroken import SettingsInvalid
from unbroken_tts.prepare.audio import Wave

Codes = npt.NDArray[np.int32]
"""(M,) int32 codes, each in [0, size)."""


@runtime_checkable
class Codec(Protocol):
    """Turns a recording into codes, the same ones every time, alone or in any company.

    `encode` gives exactly the codes of the recording: no start, no stop, no filler of a batch mate.
    """

    @property
    def name(self) -> str:
        """The name it is registered under and `codec.json` carries."""
        ...

    @property
    def size(self) -> int:
        """Number of different codes: 512 for melvq, 8,192 for the IndexTTS2 semantic codec."""
        ...

    @property
    def codes_per_second(self) -> float:
        """Code rate: 21.5 for melvq, 50 for the IndexTTS2 semantic codec."""
        ...

    @property
    def sample_rate(self) -> int:
        """Samples per second that it prefers to be given, and that `decode` returns."""
        ...

    @property
    def can_decode(self) -> bool:
        """Whether `decode` makes sound."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of everything that decides its codes."""
        ...

    def encode(self, wave: Wave, rate: int) -> Codes:
        """Return the codes of a recording.

        Args:
            wave: (S,) float32 mono, S > 0.
            rate: Samples per second of `wave`; other rates than `sample_rate` are resampled.
        """
        ...

    def decode(self, codes: Codes) -> Wave:
        """Return sound, (S,) float32 at `sample_rate`.

        Raises:
            SettingsInvalid: The codec can't decode.
        """
        ...

    def save(self, directory: Path) -> None:
        """Write it to a new directory, from which `load_codec` reads it back."""
        ...


class EncodeOnly:
    """Base of codecs whose way back to sound needs a vocoder of its own."""

    @property
    def can_decode(self) -> bool:
        """False."""
        return False

    def decode(self, codes: Codes) -> NoReturn:
        """Refuse.

        Raises:
            SettingsInvalid: Always.
        """
        raise SettingsInvalid(
            f"This codec can't decode ({len(codes)} codes were given).",
            "Its codes carry meaning, not sound; a separate vocoder makes the sound.",
            "Export the model and speak with the full synthesis system, or use the codec melvq.",
        )
