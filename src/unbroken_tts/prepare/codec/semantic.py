"""What is known of MaskGCT's semantic codec without its files."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NoReturn

from unbroken import SettingsInvalid

SEMANTIC: Final = "maskgct"
"""The codec of the real IndexTTS2, as `codec.json` names it."""


def refuse_to_load(directory: Path) -> NoReturn:
    """Say how to use data with codes of the semantic codec.

    Raises:
        SettingsInvalid: Always.
    """
    raise SettingsInvalid(
        f"The codes of {directory} are those of MaskGCT's semantic codec.",
        "This program has no vocoder for them, and their encoder is in the folder of IndexTTS2.",
        "To speak, export the model and use IndexTTS2; to prepare data, name its folder with "
        "--indextts.",
    )
