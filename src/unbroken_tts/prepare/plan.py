"""The options of a preparation, and those that an output directory is bound to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.model.config import GptConfig
from unbroken_tts.prepare import normalisation
from unbroken_tts.prepare.codec.codec import Codec, description
from unbroken_tts.prepare.codec.registry import describe
from unbroken_tts.prepare.fronts import DEFAULT, TextRules
from unbroken_tts.prepare.written import write_whole

_FORMAT = 1
_MADE = "made"
DESCRIPTION = "prepare.json"
"""The file with the options that an output directory is bound to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerPlan:
    """Where the tokenizer comes from."""

    kind: Literal["existing", "train", "extend"]
    """Use one as it is, train one on the texts, or extend one with the pieces of a new script."""
    path: Path | None = None
    """The existing or base model."""
    size: int = 0
    """Number of pieces to train, or in total after extending."""
    script: str = "Ethiopic"
    """For extending: the first word of the Unicode names of the new script's letters."""
    base_texts: tuple[str, ...] = ()
    """For extending: texts in the old language, not normalised, whose ids must not change."""
    base_language: str = "en"
    """Their language."""

    def identity(self) -> dict[str, Any]:
        """Return the options that an output directory is bound to, with the file by its digest.

        Raises:
            DataInvalid: The model file can't be read.
        """
        digest = hashlib.sha256(self.read()).hexdigest() if self.path else None
        script = self.script if self.kind == "extend" else None
        return {"kind": self.kind, "file": digest, "size": self.size, "script": script}

    def read(self) -> bytes:
        """Return the existing or base model.

        Raises:
            DataInvalid: The file can't be read.
        """
        assert self.path is not None
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataInvalid(
                f"The tokenizer {self.path} can't be read ({error.strerror}).",
                "Texts can't be encoded without it.",
                "Name a `.model` file written by SentencePiece, or the `.tiktoken` file of IndexTTS-2.5.",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparePlan:
    """All options of a preparation."""

    tokenizer: TokenizerPlan
    """Where the tokenizer comes from."""
    config: GptConfig
    """The model that the data is for: widths and limits."""
    language: str = "am"
    """Language of recordings that don't name one."""
    front: str = DEFAULT
    """The text front end that makes what is encoded: one of `fronts.NAMES`."""
    audio_dir: Path | None = None
    """Directory of the recordings, if not that of the list."""
    codec: Path | None = None
    """Directory of a saved codec; None fits the embedded `melvq` on the recordings."""
    code_book: int | None = None
    """Codes of the semantic codec that the model's configuration names, if it names one."""
    val_ratio: float = 0.01
    """Share of utterances held back for validation, 0 to 1."""
    pairs_per_target: int = 2
    """Number of prompts for each target."""
    on_bad: Literal["stop", "drop"] = "stop"
    """Whether unusable recordings stop the preparation or are omitted and listed."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further facts that the output is bound to, such as the conditioner's fingerprint."""

    def __post_init__(self) -> None:
        """Validate the numbers.

        Raises:
            SettingsInvalid: A number is outside its range.
        """
        if not 0 <= self.val_ratio < 1:
            raise SettingsInvalid(
                f"The validation ratio is {self.val_ratio}.",
                "It is the share of utterances held back, so it must be between 0 and 1.",
                "Give --val-ratio a value such as 0.01.",
            )
        if self.pairs_per_target < 1:
            raise SettingsInvalid(
                f"The number of pairs per target is {self.pairs_per_target}.",
                "A target without a prompt can't be trained on.",
                "Give --pairs-per-target a value of 1 or more.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The codec and the tokenizer of all features of a data set."""

    codec: str
    """Fingerprint of the codec."""
    tokenizer: str
    """SHA-256 of `tokenizer.model`, hexadecimal."""


def binding(plan: PreparePlan, codec: Codec | None = None) -> dict[str, Any]:
    """Return the options that all feature files of an output directory share.

    Args:
        plan: The options.
        codec: The codec, if it is neither saved nor fitted.
    """
    return {
        "format": _FORMAT,
        "normalisation": normalisation.SCHEME,
        **_front(plan.front),
        "tokenizer": plan.tokenizer.identity(),
        "codec": description(codec) if codec else describe(plan.codec) if plan.codec else None,
        "model_dim": plan.config.model_dim,
        **_condition(plan.config),
        "max_text_tokens": plan.config.max_text_tokens,
        "max_mel_tokens": plan.config.max_mel_tokens,
        "start_mel_token": plan.config.start_mel_token,
        **plan.extra,
    }


def _condition(config: GptConfig) -> dict[str, int]:
    """Return the shape of the conditioning; its width only where it is not the model's."""
    rows, width = config.condition_shape
    other = {} if width == config.model_dim else {"condition_width": width}
    return {"condition_num_latent": rows, **other}


def _front(name: str) -> dict[str, Any]:
    """Return the text front end; without a version where `normalisation` is its version."""
    scheme = {} if name == DEFAULT else {"front_scheme": TextRules.named(name).scheme}
    return {"front": name, **scheme}


def _differences(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    known = {"front": DEFAULT, **known}  # older versions had no other
    return [
        f"{name} was {known.get(name)!r}, now {wanted.get(name)!r}"
        for name in sorted({*known, *wanted} - {_MADE})
        if known.get(name) != wanted.get(name)
    ]


def _told(tokenizer: Mapping[str, Any]) -> str:
    """Return a tokenizer's options in words."""
    file = f" {str(tokenizer['file'])[:12]}" if tokenizer["file"] else ""
    return {
        "existing": f"the tokenizer{file}",
        "train": f"a tokenizer of {tokenizer['size']} pieces",
        "extend": f"the tokenizer{file} extended to {tokenizer['size']} pieces",
    }[tokenizer["kind"]]


def _is_free(output: Path, source: Path) -> bool:
    """Return whether the directory is empty, except perhaps for the recordings themselves."""
    if not output.exists():
        return True
    if not output.is_dir():
        return False
    return all(
        entry.is_dir() and source.resolve().is_relative_to(entry.resolve())
        for entry in output.iterdir()
    )


def bind_output(output: Path, wanted: Mapping[str, Any], source: Path) -> Made | None:
    """Claim a new directory, or check that an existing one is bound to the same options.

    Args:
        output: Directory of the data set.
        wanted: The result of `binding`.
        source: The list of recordings; its directory may be within `output`.

    Returns:
            The codec and tokenizer of an earlier call; None if they don't exist yet.

    Raises:
            SettingsInvalid: The directory contains something else, or data with other options.
        DataInvalid: Its description is damaged.
    """
    path = output / DESCRIPTION
    if not path.exists():
        if not _is_free(output, source):
            raise SettingsInvalid(
                f"The output {output} exists, and it is not a directory of prepared data.",
                "Files that this command did not make are never overwritten.",
                "Name a new directory with --output.",
            )
        try:
            output.mkdir(parents=True, exist_ok=True)
            _write(path, wanted, None)
        except OSError as error:
            raise SettingsInvalid(
                f"Can't write to {output}: {error}.",
                "The prepared data can't be saved.",
                "Name a writable directory, on a disk with free space, with --output.",
            ) from error
        return None
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        made = Made(**known[_MADE]) if known[_MADE] else None
    except (ValueError, KeyError, TypeError) as error:
        raise DataInvalid(
            f"The description {path} is damaged ({error}).",
            "It records the tokenizer, the codec and the sizes of the data beside it.",
            "Prepare into a new directory with --output.",
        ) from error
    if made is None:
        _write(path, wanted, None)  # nothing was made with the former options yet
        return None
    _require_same(output, known, wanted)
    return made


def _require_same(output: Path, known: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    different = _differences(known, wanted)
    if different and different[0].startswith("tokenizer ") and len(different) == 1:
        raise SettingsInvalid(
            f"The output {output} was prepared with {_told(known['tokenizer'])}, this command asks for "
            f"{_told(wanted['tokenizer'])}.",
            "All text ids of a data set must be of one tokenizer.",
            "Use the former option. For another tokenizer the features needn't be made again: make it "
            "with `unbroken-tts tokenizer`, then encode the texts again with `unbroken-tts retokenize "
            f"{output} --tokenizer NEW --output DIR`.",
        )
    if different:
        raise SettingsInvalid(
            f"The output {output} was prepared with other options: {'; '.join(different)}.",
            "All features of a data set must have one tokenizer, one codec and one model size.",
            "Use the former options, or name another directory with --output.",
        )


def seal_output(output: Path, wanted: Mapping[str, Any], made: Made) -> None:
    """Record that codec and tokenizer are complete and won't change."""
    _write(output / DESCRIPTION, wanted, made)


def _write(path: Path, wanted: Mapping[str, Any], made: Made | None) -> None:
    text = json.dumps({**wanted, _MADE: asdict(made) if made else None}, indent=2) + "\n"
    write_whole(path, text.encode())
