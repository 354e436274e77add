"""The text front ends: which rules turn a text into what the tokenizer encodes.

Training and inference must use the same one. `unbroken` has the rules of this project, which an
export carries along; `indextts`, `indextts-am` and `indextts-2.5` follow those of the inference
programs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from unbroken import SettingsInvalid
from unbroken_tts.data.tokenizer import Tokenizer
from unbroken_tts.prepare import indextts25_front, indextts_front, normalisation

DEFAULT: Final = "unbroken"
"""The front end with the rules of this project."""
WITH_LANGUAGE: Final = "indextts-2.5"
"""The front end whose texts begin with the token of their language."""

_FRONTS: Final[Mapping[str, tuple[Callable[[str, str], str], int]]] = MappingProxyType(
    {
        DEFAULT: (normalisation.normalise, normalisation.SCHEME),
        "indextts": (
            lambda text, _language: indextts_front.follow_indextts(text),
            indextts_front.SCHEME,
        ),
        "indextts-am": (
            lambda text, _language: indextts_front.follow_indextts_am(text),
            indextts_front.SCHEME,
        ),
        WITH_LANGUAGE: (indextts25_front.follow_indextts25, indextts25_front.SCHEME),
    }
)
NAMES: Final = tuple(_FRONTS)
"""Names of all front ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """The rules that made text ids."""

    front: str
    """One of `NAMES`."""
    scheme: int
    """Version of its rules."""
    languages: tuple[str, ...] = ()
    """Languages of the texts, sorted."""

    @classmethod
    def named(cls, front: str, languages: Iterable[str] = ()) -> TextRules:
        """Return a front end with its rules of today."""
        return cls(front=front, scheme=_FRONTS[front][1], languages=tuple(sorted(set(languages))))

    @classmethod
    def of_record(cls, record: object) -> TextRules | None:
        """Return rules as `recorded` wrote them; None where they are unknown."""
        if not isinstance(record, Mapping):
            return None
        front, scheme, languages = (record.get(key) for key in ("front", "scheme", "languages"))
        if front not in _FRONTS or not isinstance(scheme, int):
            return None
        known = [each for each in languages or () if isinstance(each, str)]
        return cls(front=str(front), scheme=scheme, languages=tuple(known))

    def recorded(self) -> dict[str, Any]:
        """Return the rules for facts and records."""
        return {"front": self.front, "scheme": self.scheme, "languages": list(self.languages)}

    def require_of_today(self) -> None:
        """Check that this version has the rules that made the ids.

        Raises:
            SettingsInvalid: It has others.
        """
        today = _FRONTS[self.front][1]
        if self.scheme != today:
            raise SettingsInvalid(
                f"The texts were made by version {self.scheme} of the front end {self.front}; this "
                f"program has version {today}.",
                "What it would say of a text is not what the training read.",
                "Use the version of unbroken-tts that prepared the data.",
            )


def front_end(text: str, language: str, front: str = DEFAULT) -> str:
    """Return what the tokenizer encodes for a text.

    Args:
        text: Any text.
        language: Tag such as `am`; the inference programs find it out themselves.
        front: One of `NAMES`.

    Raises:
        DataInvalid: The rules of the inference program can't be followed for this text.
    """
    return _FRONTS[front][0](text, language)


def require_fitting(front: str, tokenizer: Tokenizer) -> None:
    """Check that texts of a front end can be encoded with a tokenizer.

    Raises:
        SettingsInvalid: One of the two is of IndexTTS-2.5 and the other isn't.
    """
    if bool(tokenizer.languages) == (front == WITH_LANGUAGE):
        return
    if tokenizer.languages:
        raise SettingsInvalid(
            f"The tokenizer {tokenizer.path} is of IndexTTS-2.5, and the front end is {front}.",
            "Each of its texts begins with the token of its language, which only the front end "
            f"{WITH_LANGUAGE} writes.",
            f"Use --front {WITH_LANGUAGE}; write numbers and abbreviations out in the texts before "
            "(`unbroken-tts normalise` shows how).",
        )
    raise SettingsInvalid(
        f"The front end is {front}, and the tokenizer {tokenizer.path} is a SentencePiece model.",
        "It has no tokens of languages, which the texts of that front end begin with.",
        "Name the `.tiktoken` file of IndexTTS-2.5, or another front end.",
    )


def rules_of_data(folder: Path, languages: Iterable[str]) -> TextRules | None:
    """Return the rules that made the text ids in a folder of prepared data.

    Args:
        folder: The folder of the manifests.
        languages: Languages of the texts.

    Returns:
        None where no `prepare.json` of ours names them: the folder was made by another tool.
    """
    try:
        record = json.loads((folder / "prepare.json").read_text(encoding="utf-8"))
        front = record.get("front", DEFAULT)
        scheme = record["normalisation"] if front == DEFAULT else record["front_scheme"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    known = sorted({each for each in languages if each})
    return TextRules.of_record({"front": front, "scheme": scheme, "languages": known})
