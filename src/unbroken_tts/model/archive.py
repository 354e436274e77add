"""Reads PyTorch files of other programs without executing anything in them."""

from __future__ import annotations

import os
import pickle
import shlex
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
from torch.torch_version import TorchVersion

from unbroken import DataInvalid

if TYPE_CHECKING:
    from pathlib import Path

_ZIP_MAGIC = b"PK\x03\x04"
# The number that `torch.save` of before torch 1.6 pickled first, after the two bytes of the protocol.
_OLD_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_RECONSTRUCT: Any = np.zeros(0).__reduce__()[0]

# The only globals besides tensors in a training checkpoint of the earlier trainer: five, of which
# numpy moved one, so it has two names.
_ALLOWED: list[Any] = [
    np.ndarray,
    np.dtype,
    (_RECONSTRUCT, "numpy._core.multiarray._reconstruct"),
    (_RECONSTRUCT, "numpy.core.multiarray._reconstruct"),
    TorchVersion,
    np.dtypes.UInt32DType,
]

# Exceptions that torch's restricted unpickler was seen to raise on damaged or foreign bytes.
_DAMAGE = (
    pickle.UnpicklingError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    EOFError,
    MemoryError,
    OverflowError,
    OSError,
    struct.error,
)


def read_archive(path: Path) -> dict[str, Any]:
    """Read a torch zip archive that contains a dict; tensors are mapped, not read.

    The restricted unpickler builds tensors, plain containers and five harmless types, and refuses
    everything else before calling it.

    Args:
        path: gpt.pth, latest.pth, model_step{N}.pth or the like.

    Raises:
        DataInvalid: The file is missing, is no torch zip archive, is damaged, or contains an object
            that is not allowed.
    """
    if path.exists() and not path.is_file():
        raise _refusal(path, "can't be read (not a regular file)")  # a pipe would never end
    try:
        with path.open("rb") as file:
            first = file.read(2 + len(_OLD_MAGIC))
    except OSError as error:
        raise _refusal(path, f"can't be read ({error.strerror})") from error
    if first[2:] == _OLD_MAGIC:
        raise _refusal_of_old(path)
    if not first.startswith(_ZIP_MAGIC):
        raise _refusal(path, "is not a PyTorch archive")
    try:
        # Torch also warns about a damaged file; the error says the same.
        with warnings.catch_warnings(action="ignore"), safe_globals(_ALLOWED):
            # Windows can't replace or delete a mapped file, so there it is read into memory.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=os.name != "nt")
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:300]
        if found := _forbidden_in(path):
            raise DataInvalid(
                f"The weights file {path} contains {', '.join(map(ascii, found[:5]))}, which is more than tensors "
                "and plain values.",
                "Only code could make it; no code from it was run, and nothing in it was used.",
                "Save the model's state_dict alone, in the program that made the file.",
            ) from error
        raise _refusal(path, f"is damaged or contains more than tensors ({reason})") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise _refusal(path, f"contains a {type(content).__name__} instead of named values")
    return content


def _forbidden_in(path: Path) -> list[str]:
    """Return what the pickle of an archive asks for that is not allowed; the pickle is only scanned."""
    try:
        with safe_globals(_ALLOWED):
            return sorted(get_unsafe_globals_in_checkpoint(path))
    except _DAMAGE:
        return []


def _refusal_of_old(path: Path) -> DataInvalid:
    target = path.with_name(f"{path.stem}.converted{path.suffix}")
    code = (
        f"import torch; torch.save(torch.load({str(path)!r}, map_location='cpu', "
        f"weights_only=True), {str(target)!r})"
    )
    # Double quotes, so that the line works in every shell, where the path has nothing to escape.
    is_plain = not set(code) & set('"$`!%\\')
    quoted = f'"{code}"' if is_plain else shlex.quote(code)
    return DataInvalid(
        f"The weights file {path} is a pickle of before torch 1.6.",
        "Such a file can't be mapped, and nothing in it was used.",
        f"Convert it once, and name the new file:\n  python -c {quoted}",
    )


def _refusal(path: Path, what: str) -> DataInvalid:
    return DataInvalid(
        f"The weights file {path} {what}.",
        "Nothing in it was used, and no code from it was run.",
        "Name an intact gpt.pth, latest.pth or model_step{N}.pth, or copy the file again.",
    )
