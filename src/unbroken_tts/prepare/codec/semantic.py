"""What is known of the semantic codecs of the real IndexTTS2 without their files."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NoReturn

from unbroken import SettingsInvalid

SEMANTIC: Final = "maskgct"
"""The codec of the real IndexTTS2 2.0, MaskGCT's, as `codec.json` names it."""
SEMANTIC_2_5: Final = "indextts-2.5"
"""The codec of IndexTTS-2.5, likewise."""


def refuse_to_load(directory: Path) -> NoReturn:
    """Say how to use data with codes of the semantic codec.

    Raises:
        SettingsInvalid: Always.
    """
    raise SettingsInvalid(
        f"The codes of {directory} are those of a semantic codec of the real IndexTTS2.",
        "This program has no vocoder for them, and their encoder is in the folder of IndexTTS2.",
        "To speak, export the model and use IndexTTS2; to prepare data, name its folder with "
        "--indextts.",
    )
