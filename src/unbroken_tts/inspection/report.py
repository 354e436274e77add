"""What an inspection reports."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unbroken_tts.hardware import memory_by_precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unbroken_tts.model.gpt_file import Shape

_MATRIX = re.compile(r"^gpt\.h\.\d+\..*c_\w+\.weight$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A number of tensors."""

    tensors: int = 0
    numbers: int = 0
    """Values in them."""
    bytes: int = 0
    """As they lie on the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found; the fields are those of `--json`."""

    path: str
    kind: str
    """Of file, or `run`."""
    size: int
    """Bytes on the disk: of the file, of the checkpoint."""
    family: str
    """Family and version, or `unknown: ` and what was seen instead."""
    is_supported: bool
    """Whether this program can train it."""
    faults: list[str]
    """What is missing, surplus or unusable."""
    entry: str = ""
    """Where the tensors lie in a file; `.` for a plain state dict."""
    removed: dict[str, int] = field(default_factory=dict)
    """Prefix that programs added to names -> how many names."""
    adapter: str = ""
    """An unmerged adapter."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Why -> names that are no part of the model."""
    vocabulary: int | None = None
    """Pieces of the tokenizer: rows of the text tables without the spare one."""
    mel_codes: int | None = None
    """Rows of the mel table: codes, start and stop."""
    precision: dict[str, int] = field(default_factory=dict)
    """dtype -> tensors."""
    trained: Count = field(default_factory=Count)
    carried: Count = field(default_factory=Count)
    """Encoders, which are not trained."""
    frozen: Count = field(default_factory=Count)
    """Rows of the base vocabulary and layers that a run keeps unchanged; no file says which."""
    adapters: Count = field(default_factory=Count)
    """Of what is trained, LoRA adapters."""
    trained_part: str = ""
    """Which layers are trained, where that is not all."""
    frozen_rows: int | None = None
    """How many text rows these are; None where nothing says."""
    position: dict[str, int] = field(default_factory=dict)
    """Where a training stood."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What a run says of itself."""
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    """Precision -> where -> bytes that training holds at least."""
    not_finite: dict[str, int] = field(default_factory=dict)
    """Tensor -> how many of its values are not finite."""


def training_memory(
    shapes: Mapping[str, Shape], trained: int, frozen: int = 0
) -> dict[str, dict[str, int]]:
    """Return precision -> where -> bytes that training holds at least.

    Args:
        shapes: Of the model's tensors.
        trained: How many numbers are trained, adapters among them.
        frozen: How many are not.
    """
    matrices = sum(math.prod(shape) for name, shape in shapes.items() if _MATRIX.match(name))
    found = memory_by_precision(trained, matrices, frozen)
    return {str(precision): needs for precision, needs in found.items()}


def count_of(tensors: Iterable[Any]) -> Count:
    """Count tensors, in memory or on the disk."""
    shapes = [(tuple(each.shape), each.dtype.itemsize) for each in tensors]
    return Count(
        tensors=len(shapes),
        numbers=sum(math.prod(shape) for shape, _ in shapes),
        bytes=sum(math.prod(shape) * size for shape, size in shapes),
    )
