"""The interface of a codec, which converts sound to codes and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from unbroken import SettingsInvalid
from unbroken_tts.prepare.audio import Wave

Codes = npt.NDArray[np.int32]
"""(M,) int32 codes, each in [0, size)."""


@runtime_checkable
class Codec(Protocol):
    """Converts a recording to codes, deterministically and independently of other recordings.

    `encode` returns exactly the codes of the recording, without start, stop or padding.
    """

    @property
    def name(self) -> str:
        """The name under which it is registered, also in `codec.json`."""
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
        """Preferred samples per second of the input, and those of the result of `decode`."""
        ...

    @property
    def can_decode(self) -> bool:
        """Whether `decode` makes sound."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of everything that determines its codes."""
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


def description(codec: Codec) -> dict[str, Any]:
    """Return what is said of a codec in `codec.json`, without its weights."""
    return {
        "codec": codec.name,
        "size": codec.size,
        "codes_per_second": codec.codes_per_second,
        "sample_rate": codec.sample_rate,
        "fingerprint": codec.fingerprint,
    }


class EncodeOnly:
    """Base of codecs that need a separate vocoder to make sound."""

    @property
    def can_decode(self) -> bool:
        """False."""
        return False

    def decode(self, codes: Codes) -> NoReturn:
        """Raise an error.

        Raises:
            SettingsInvalid: Always.
        """
        raise SettingsInvalid(
            f"This codec can't decode ({len(codes)} codes were given).",
            "Its codes are semantic; a separate vocoder makes the sound.",
            "Export the model and speak with the full synthesis system, or use the codec melvq.",
        )
