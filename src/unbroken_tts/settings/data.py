"""What to train and validate on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from unbroken_tts.settings.declaration import Group, setting

_MIX = r"^$|^\s*[A-Za-z0-9_-]+=[0-9]*\.?[0-9]+(\s*,\s*[A-Za-z0-9_-]+=[0-9]*\.?[0-9]+)*\s*$"


class DataSettings(Group, title="Data"):
    """Training and validation data."""

    train_manifest: tuple[Annotated[str, Field(min_length=1)], ...] = setting(
        "may change",
        "Paired manifest (JSON Lines) to train on. Repeat the flag to mix data sets; append ::am "
        "to set the language of lines that don't name one. A resume compares the content of the "
        "manifests, not their paths.",
        metavar="FILE",
    )
    val_manifest: tuple[Annotated[str, Field(min_length=1)], ...] = setting(
        "may change",
        "Paired manifest to validate on. Repeat the flag to mix data sets.",
        metavar="FILE",
    )
    tokenizer: Path = setting(
        "may change",
        "Tokenizer that produced the text ids in the manifests: a SentencePiece model, or the .tiktoken "
        "file of IndexTTS-2.5. Its number of pieces is the size of the vocabulary.",
        metavar="FILE",
    )
    on_bad_sample: Literal["stop", "drop"] = setting(
        "may change",
        "When the preflight finds damaged samples: `stop` lists every fault and ends, `drop` lists "
        "and omits the samples. A sample is never replaced by another one.",
        "stop",
    )
    mix: Annotated[str, Field(pattern=_MIX)] = setting(
        "must match",
        "Share of each language in the tokens of every epoch, such as `am=0.85,en=0.15`, so that the "
        "base's languages stay. The language with the largest share comes once an epoch, the others "
        "as often as their shares need.",
        "",
        metavar="SHARES",
    )
    trim_codes: bool = setting(
        "may change",
        "Cut codes that were padded to the longest of their batch, by the durations of the "
        "recordings. Known preparation tools pad them; `unbroken-tts prepare` doesn't. A resumed run "
        "needs the same data, so give it the same choice.",
        default=False,
    )
    recheck: bool = setting(
        "may change",
        "Read every array again, even if the size and time of its file are unchanged.",
        default=False,
    )
