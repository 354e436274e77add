"""What to train and validate on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from unbroken_tts.settings.declaration import Group, setting


class DataSettings(Group, title="Data"):
    """What to train and validate on."""

    train_manifest: tuple[Annotated[str, Field(min_length=1)], ...] = setting(
        "may change",
        "Paired manifest (JSON Lines) to train on. Repeat the flag to mix data sets; end it with "
        "::am to set the language of lines that name none. A resumed run compares what the "
        "manifests contain, not where they lie.",
        metavar="FILE",
    )
    val_manifest: tuple[Annotated[str, Field(min_length=1)], ...] = setting(
        "may change",
        "Paired manifest to validate on. Repeat the flag to mix data sets.",
        metavar="FILE",
    )
    tokenizer: Path = setting(
        "may change",
        "SentencePiece model the text ids of the manifests were made with. Its number of pieces "
        "is the size of the vocabulary.",
        metavar="FILE",
    )
    on_bad_sample: Literal["stop", "drop"] = setting(
        "may change",
        "What to do when the preflight finds a damaged sample: stop and list every fault, or drop "
        "the sample and list it. A sample is never replaced by another one.",
        "stop",
    )
    recheck: bool = setting(
        "may change",
        "Read every array again instead of trusting files whose size and time are unchanged.",
        default=False,
    )
