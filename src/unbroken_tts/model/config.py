"""The configuration of the voice model, read from the `gpt` section of a `config.yaml`.

All shapes and special ids come from here, except the size of the text vocabulary, which is the
tokenizer's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unbroken import SettingsInvalid

if TYPE_CHECKING:
    from pathlib import Path

# Other keys of the original's configuration file; their values never vary for this kind of model.
CONSTANT = {
    "use_mel_codes_as_input": True,
    "mel_length_compression": 1024,
    "train_solo_embeddings": False,
    "condition_type": "conformer_perceiver",
}
REAL_CODES = 8192
"""Codes of the semantic codec of IndexTTS2."""
SPEAKER_WIDTH = 192
"""Width of the speaker vectors of CAMPPlus, which IndexTTS-2.5 projects in the model."""
LANGUAGE_TOKENS = 99
"""Languages of IndexTTS-2.5 that have a token; its language table has rows for some more."""
# Keys of this project. The original refuses unknown keys, so defaults are not written.
_OURS = {"dropout", "speed_rows"}
# These two the original is given otherwise: they stand beside the `gpt` section.
BESIDE = ("spk_cond_mode", "language_rows")


class ConditionModule(BaseModel):
    """One of the two untrained conditioning encoders: a conformer followed by a perceiver."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="ignore", use_attribute_docstrings=True
    )

    output_size: int = Field(ge=1)
    """Width of the conformer (C)."""
    linear_units: int = Field(ge=1)
    """Width inside its feed-forward layers (U)."""
    attention_heads: int = Field(ge=1)
    """Attention heads (A); the perceiver uses as many, of 64 channels each."""
    num_blocks: int = Field(ge=1)
    """Conformer blocks (B)."""
    input_layer: Literal["conv2d2"] = "conv2d2"
    """How the mel frames are subsampled."""
    perceiver_mult: float = Field(gt=0)
    """Width of the perceiver's feed-forward layers over its own width (P); may be fractional."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.output_size % self.attention_heads:
            raise ValueError(
                f"attention_heads is {self.attention_heads}, which does not divide"
                f" output_size {self.output_size}"
            )
        return self


class GptConfig(BaseModel):
    """The `gpt` section of a configuration; unknown keys are ignored."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="ignore", use_attribute_docstrings=True
    )

    model_dim: int = Field(ge=1)
    """Width of the model (D)."""
    layers: int = Field(ge=1)
    """Transformer blocks."""
    heads: int = Field(ge=1)
    """Attention heads; they divide `model_dim`."""
    max_mel_tokens: int = Field(ge=1)
    """Mel positions, in codes; the position table has three rows more."""
    max_text_tokens: int = Field(ge=1)
    """Text positions, in tokens; the position table has two rows more."""
    number_text_tokens: int = Field(default=12_000, ge=1)
    """Vocabulary size in the file; the tokenizer's number of pieces overrides it."""
    number_mel_codes: int = Field(ge=3)
    """Rows of the mel embedding and head: the code book, start and stop."""
    start_mel_token: int = Field(ge=1)
    """Id before the first code; codes are 0 .. start_mel_token - 1."""
    stop_mel_token: int = Field(ge=1)
    """Id after the last code."""
    start_text_token: int = Field(default=0, ge=0)
    """Id before the first text token."""
    stop_text_token: int = Field(default=1, ge=0)
    """Id after the last text token, and padding."""
    condition_num_latent: int = Field(default=32, ge=1)
    """Conditioning rows at the head of the sequence (C of a batch)."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability of dropout on embeddings, attention weights and residuals, in training only."""
    speed_rows: bool = True
    """Whether two rows of a speed table follow the conditioning, before the text."""
    spk_cond_mode: Literal["conformer", "campplus"] = "conformer"
    """The voice comes as conditioning rows (IndexTTS2 2.0), or as a speaker vector (2.5)."""
    language_rows: int = Field(default=0, ge=0, le=100_000)
    """Rows of the language table of 2.5 (R); 0 where the model has none."""
    condition_module: ConditionModule
    """The speaker conditioning encoder (not trained)."""
    emo_condition_module: ConditionModule
    """The emotion conditioning encoder (not trained)."""

    @model_validator(mode="after")
    def _numbers_fit_together(self) -> Self:
        if self.model_dim % self.heads:
            raise ValueError(f"heads is {self.heads}, which does not divide {self.model_dim}")
        if self.start_mel_token == self.stop_mel_token:
            raise ValueError(f"start_mel_token and stop_mel_token are both {self.stop_mel_token}")
        if self.start_text_token == self.stop_text_token:
            raise ValueError(
                f"start_text_token and stop_text_token are both {self.stop_text_token}"
            )
        if (self.spk_cond_mode == "campplus") != bool(self.language_rows):
            raise ValueError(
                f"spk_cond_mode is {self.spk_cond_mode} and language_rows is {self.language_rows}; "
                "a model with speaker vectors has a language table, and no other has one"
            )
        if 0 < self.language_rows < LANGUAGE_TOKENS:
            raise ValueError(
                f"language_rows is {self.language_rows}, and {LANGUAGE_TOKENS} languages have a token"
            )
        largest = max(self.start_mel_token, self.stop_mel_token)
        if largest >= self.number_mel_codes:
            raise ValueError(
                f"number_mel_codes is {self.number_mel_codes}, too few for the id {largest}"
            )
        return self

    @property
    def takes_speaker_vectors(self) -> bool:
        """Whether the model is of IndexTTS-2.5."""
        return self.spk_cond_mode == "campplus"

    @property
    def condition_shape(self) -> tuple[int, int]:
        """Rows and columns of a sample's conditioning: (C, D), or (1, 192) with speaker vectors."""
        if self.takes_speaker_vectors:
            return 1, SPEAKER_WIDTH
        return self.condition_num_latent, self.model_dim

    @property
    def prefix_rows(self) -> int:
        """Rows of the sequence before the text.

        The conditioning, and where present two rows of speed; with speaker vectors two of zeros.
        """
        has_two = self.takes_speaker_vectors or self.speed_rows
        return self.condition_shape[0] + (2 if has_two else 0)

    @property
    def longest_text(self) -> int:
        """Largest number of text tokens of a sample, by the position table."""
        return self.max_text_tokens

    @property
    def longest_codes(self) -> int:
        """Largest number of mel codes of a sample, by the position table."""
        return self.max_mel_tokens + 1

    def updated(self, values: dict[str, Any], *, origin: str) -> GptConfig:
        """Return it with some other values.

        Raises:
            SettingsInvalid: They contradict each other.
        """
        return GptConfig.from_mapping(self.model_dump() | values, origin=origin)

    @classmethod
    def from_mapping(cls, values: object, *, origin: str) -> GptConfig:
        """Validate the values of a `gpt` section.

        Args:
            values: The section as parsed.
            origin: Where it came from, for messages.

        Raises:
            SettingsInvalid: A value is missing, has the wrong type, or contradicts another.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = "; ".join(_fault(item) for item in error.errors())
            raise SettingsInvalid(
                f"The `gpt` section of {origin} is unusable: {faults}.",
                "These values determine the shape of every tensor of the model.",
                "Correct them, or use the config.yaml that belongs to the base checkpoint.",
            ) from error

    @classmethod
    def from_yaml(cls, path: Path) -> GptConfig:
        """Read the `gpt` section of a YAML file; everything else in it is ignored.

        Raises:
            SettingsInvalid: The file is missing, is not YAML, has no `gpt` section, or the section
                is invalid.
        """
        document = read_document(path)
        if not isinstance(document, dict) or "gpt" not in document:
            raise SettingsInvalid(
                f"The model configuration {path} has no `gpt` section.",
                "Without it the shape of the model is unknown.",
                "Name the config.yaml that belongs to the base checkpoint with --config.",
            )
        section = document["gpt"]
        if isinstance(section, dict):
            section = {key: document[key] for key in BESIDE if key in document} | section
        return cls.from_mapping(section, origin=str(path))

    def to_yaml(self, path: Path) -> None:
        """Write a configuration file with this `gpt` section, in the original's form."""
        section = {**self.model_dump(exclude={*_OURS, *BESIDE}), **CONSTANT}
        section |= self.model_dump(include=_OURS, exclude_defaults=True)
        version = 2.5 if self.takes_speaker_vectors else 2.0
        document: dict[str, Any] = {"gpt": section, "gpt_checkpoint": "gpt.pth", "version": version}
        document |= self.model_dump(include={*BESIDE}, exclude_defaults=True)
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8", newline="\n")


def read_document(path: Path) -> Any:
    """Return the content of a configuration file.

    Raises:
        SettingsInvalid: The file is missing or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsInvalid(
            f"The model configuration {path} can't be read: {' '.join(str(error).split())}.",
            "Without it the shape of the model is unknown.",
            "Name the right file with --config.",
        ) from error


def code_book_of(path: Path) -> int | None:
    """Return the codes of the semantic codec that a model was trained with; None if it is another's.

    A `semantic_codec` section names it. A copy of the real configuration without that section is known
    by its 8,192 codes.

    Raises:
        SettingsInvalid: The file can't be read, or the number isn't one.
    """
    document = read_document(path)
    section = document.get("semantic_codec") if isinstance(document, dict) else None
    if section is None:
        gpt = document.get("gpt") if isinstance(document, dict) else None
        is_real = isinstance(gpt, dict) and gpt.get("start_mel_token") == REAL_CODES
        return REAL_CODES if is_real else None
    size = section.get("codebook_size") if isinstance(section, dict) else section
    if type(size) is not int or size < 1:
        raise SettingsInvalid(
            f"The `semantic_codec` section of {path} has the codebook_size {size!r}.",
            "It is the number of different codes, 8192 in the real model.",
            "Correct it, or use the config.yaml that belongs to the base checkpoint.",
        )
    return size


def rows_per_code_of(path: Path) -> int:
    """Return how many of the 50 speech features a second make a code: 2 in IndexTTS-2.5, else 1.

    Raises:
        SettingsInvalid: The file can't be read, or the number isn't one.
    """
    document = read_document(path)
    section = document.get("semantic_codec") if isinstance(document, dict) else None
    scale = section.get("downsample_scale") if isinstance(section, dict) else None
    if scale is None:
        return 1
    if type(scale) is not int or scale < 1:
        raise SettingsInvalid(
            f"The `semantic_codec` section of {path} has the downsample_scale {scale!r}.",
            "It says how many speech features make a code.",
            "Correct it, or use the config.yaml that belongs to the base checkpoint.",
        )
    return scale


def _fault(item: Any) -> str:
    """Return an error of pydantic as `key: message (found value)`."""
    key = ".".join(str(part) for part in item["loc"]) or "values"
    if item["type"] in {"missing", "value_error"}:
        return f"{key}: {item['msg']}"
    return f"{key}: {item['msg']} (found {item['input']!r})"
