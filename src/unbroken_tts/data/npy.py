"""Reads numpy's npy files without pickle and without evaluating anything from the file.

`numpy.load` would do, but it parses the header with `ast.literal_eval` (20 microseconds, and
warnings on odd bytes) and says little about what is wrong. The format: NEP 1 and
`numpy.lib.format`.
"""

from __future__ import annotations

import math
import os
import re
import stat
from typing import TYPE_CHECKING, Any

import numpy as np

from unbroken_tts.data.faults import FaultKind

if TYPE_CHECKING:
    import numpy.typing as npt

LARGEST_FILE_BYTES = 2**28
"""256 MiB, 1,500 times the largest array of the real model; a larger file is something else."""

_MAGIC = b"\x93NUMPY"
_DESCR = re.compile(rb"""['"]descr['"]\s*:\s*(?:['"]([<>|=]?[A-Za-z]\d*)['"]|(\S))""")
_ORDER = re.compile(rb"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(rb"""['"]shape['"]\s*:\s*\(\s*((?:\d{1,18}\s*,\s*)*(?:\d{1,18})?)\s*\)""")


class ArrayUnusable(Exception):
    """An array can't be used at all, whatever its role.

    Args:
        kind: The kind of fault.
        detail: What is wrong, without the file's name.
    """

    def __init__(self, kind: FaultKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


def read_array(path: str) -> tuple[npt.NDArray[Any], os.stat_result]:
    """Read an int32 or float32 array of one or two dimensions, completely.

    Returns:
        The array, C-contiguous and read-only, and the stat of the file that was read.

    Raises:
        ArrayUnusable: The file is missing, not a regular file, damaged, pickled, or of another
            type or number of dimensions.
    """
    try:
        # Unbuffered: one call reads the whole of a small file.
        with open(path, "rb", buffering=0, opener=_opener) as file:
            status = os.fstat(file.fileno())
            check_file(status)
            content = file.read()
    except FileNotFoundError:
        raise ArrayUnusable(FaultKind.MISSING_FILE, "there is no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ArrayUnusable(FaultKind.UNREADABLE, f"can't be read: {reason}") from None
    return parse_npy(content), status


def check_file(status: os.stat_result) -> None:
    """Refuse anything but a regular file of a plausible size.

    Raises:
        ArrayUnusable: It is something else, which the message names.
    """
    if stat.S_ISDIR(status.st_mode):
        raise ArrayUnusable(FaultKind.UNREADABLE, "is a directory, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise ArrayUnusable(FaultKind.UNREADABLE, "is no regular file")
    if status.st_size > LARGEST_FILE_BYTES:
        raise ArrayUnusable(
            FaultKind.UNREADABLE,
            f"is {status.st_size} bytes, more than the {LARGEST_FILE_BYTES} any feature has",
        )


def parse_npy(content: bytes) -> npt.NDArray[Any]:
    """Parse the bytes of an npy file with int32 or float32 in one or two dimensions.

    Returns:
        A read-only C-contiguous array; a view of `content` unless stored in Fortran order.

    Raises:
        ArrayUnusable: As for `read_array`.
    """
    start, header = _header(content)
    descr, is_fortran, shape = _fields(header)
    if len(shape) not in (1, 2):
        raise ArrayUnusable(FaultKind.WRONG_SHAPE, f"has the shape {shape}")
    needed = math.prod(shape) * 4
    if len(content) - start < needed:
        raise ArrayUnusable(
            FaultKind.UNREADABLE,
            f"is truncated: the shape {shape} needs {needed} bytes, "
            f"but {len(content) - start} are there",
        )
    flat = np.frombuffer(content, dtype=descr, count=needed // 4, offset=start)
    array = flat.reshape(shape, order="F" if is_fortran else "C")
    contiguous = np.ascontiguousarray(array)
    contiguous.flags.writeable = False
    return contiguous


def _opener(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a named pipe would wait for a writer forever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))


def _header(content: bytes) -> tuple[int, bytes]:
    """Return where the data begins, and the text of the header."""
    if content[:6] != _MAGIC or len(content) < 8:
        found = "empty" if not content else "no npy file (its first bytes are not numpy's)"
        raise ArrayUnusable(FaultKind.UNREADABLE, f"is {found}")
    size = {1: 2, 2: 4, 3: 4}.get(content[6])
    if size is None:
        raise ArrayUnusable(FaultKind.UNREADABLE, f"has the unknown npy version {content[6]}")
    start = 8 + size + int.from_bytes(content[8 : 8 + size], "little")
    if len(content) < start:
        raise ArrayUnusable(FaultKind.UNREADABLE, "is truncated within its header")
    return start, content[8 + size : start]


def _fields(header: bytes) -> tuple[str, bool, tuple[int, ...]]:
    """Return type, Fortran order and shape that a header declares."""
    descr, order, shape = _DESCR.search(header), _ORDER.search(header), _SHAPE.search(header)
    if descr is None or order is None or shape is None:
        raise ArrayUnusable(FaultKind.UNREADABLE, "has a header that is not numpy's")
    if descr[1] is None:
        raise ArrayUnusable(FaultKind.WRONG_DTYPE, "contains records, not int32 or float32")
    name = descr[1].decode("ascii")
    if name.lstrip("<>|=").startswith("O"):
        raise ArrayUnusable(
            FaultKind.PICKLED, "contains pickled Python objects, which could run code when read"
        )
    if name not in ("<i4", "<f4"):
        raise ArrayUnusable(
            FaultKind.WRONG_DTYPE, f"must be int32 or float32, but is {_type(name)}"
        )
    dimensions = tuple(int(size) for size in shape[1].replace(b",", b" ").split())
    return name, order[1] == b"True", dimensions


def _type(descr: str) -> str:
    """Return the usual name of a type, such as int64 for `<i8`."""
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError):
        return f"`{descr}`"
    return dtype.name if descr[0] in "<|=" else f"{dtype.name} in big-endian order"
