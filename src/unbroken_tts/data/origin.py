"""Tells which codec and which conditioner made the features of a manifest.

`unbroken-tts prepare` records both beside its manifests. Of a folder by another tool nothing is
known, and nothing is assumed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from unbroken import DataInvalid

PREPARED: Final = "prepare.json"
"""The file beside the manifests."""
EMBEDDED_CODEC: Final = "melvq"
"""The codec that is fitted on the recordings themselves."""
EMBEDDED_CONDITIONER: Final = "melstat"
"""The conditioner that needs no weights."""
SPEAKER_MODEL: Final = "speaker_model"
"""The key of the fingerprint of the model that made the speaker vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureOrigin:
    """The identities of what made the codes and the conditioning of a data set."""

    codec: str
    """Name: `melvq`, `maskgct`, `indextts-2.5`, or that of an installed package."""
    codec_fingerprint: str
    """Digest of everything that determines its codes."""
    conditioner: str
    """Name of the conditioner: `melstat`, `indextts` or `indextts-2.5`."""
    conditioner_fingerprint: str
    """Digest of everything that determines its output; in 2.5 that of the emotion vectors."""
    speaker_model: str = ""
    """Digest of what determines the speaker vectors of 2.5; empty where there are none."""

    @property
    def is_embedded(self) -> bool:
        """Whether codec or conditioner is of the kind that no published model was trained with."""
        return self.codec == EMBEDDED_CODEC or self.conditioner == EMBEDDED_CONDITIONER

    @property
    def has_speaker_vectors(self) -> bool:
        """Whether the features are for IndexTTS-2.5."""
        return bool(self.speaker_model)

    def facts(self) -> dict[str, str]:
        """Return the origin as facts of a run; a speaker model only where there is one."""
        found = asdict(self)
        if not self.speaker_model:
            del found[SPEAKER_MODEL]  # runs of 2.0 never had the fact
        return found


def origin_of(manifest: Path) -> FeatureOrigin | None:
    """Return the origin of a manifest's features; None if it isn't known.

    Args:
        manifest: The file; `prepare.json` is looked for in its directory.

    Raises:
        DataInvalid: The record beside it is damaged.
    """
    path = manifest.parent / PREPARED
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    try:
        return _origin(known)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, repr(error)) from error


def _origin(known: Any) -> FeatureOrigin | None:
    if known["made"] is None:
        return None
    codec = known["codec"]
    return FeatureOrigin(
        codec=EMBEDDED_CODEC if codec is None else codec["codec"],
        codec_fingerprint=known["made"]["codec"],
        conditioner=known.get("conditioner_name", EMBEDDED_CONDITIONER),
        conditioner_fingerprint=known["conditioner"],
        speaker_model=known.get(SPEAKER_MODEL, ""),
    )


def _damaged(path: Path, why: str) -> DataInvalid:
    return DataInvalid(
        f"{path} is damaged ({why}).",
        "It records which codec and which conditioner made the features beside it.",
        "Restore it, or prepare the data again into another directory.",
    )
