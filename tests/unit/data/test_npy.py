from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbroken_tts.data.faults import FaultKind
from unbroken_tts.data.npy import ArrayUnusable, parse_npy, read_array

if TYPE_CHECKING:
    from pathlib import Path


def saved(array: np.ndarray[Any, Any], *, version: tuple[int, int] | None = None) -> bytes:
    """Return what numpy writes for an array."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(7, dtype=np.int32),
        np.zeros(0, dtype=np.int32),
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    ],
    ids=["ids", "empty", "matrix", "fortran"],
)
def test_reads_what_numpy_writes(array: np.ndarray[Any, Any], version: tuple[int, int]) -> None:
    """Every version of the format and both orders give the array back."""
    read = parse_npy(saved(array, version=version))
    assert array.dtype == read.dtype
    assert array.tolist() == read.tolist()
    assert read.flags.c_contiguous


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (b"", FaultKind.UNREADABLE, "is empty"),
        (b"PK\x03\x04 a zip file", FaultKind.UNREADABLE, "no npy file"),
        (b"\x93NUMPY\x09\x00", FaultKind.UNREADABLE, "unknown npy version 9"),
        (saved(np.arange(9, dtype=np.int32))[:40], FaultKind.UNREADABLE, "within its header"),
        (saved(np.arange(9, dtype=np.int32))[:-1], FaultKind.UNREADABLE, "needs 36 bytes, but 35"),
        (b"\x93NUMPY\x01\x00\x04\x00{  }", FaultKind.UNREADABLE, "not numpy's"),
        (saved(np.arange(9, dtype=np.int64)), FaultKind.WRONG_DTYPE, "but is int64"),
        (saved(np.arange(9, dtype=">i4")), FaultKind.WRONG_DTYPE, "int32 in big-endian order"),
        (saved(np.zeros(3, dtype=np.float16)), FaultKind.WRONG_DTYPE, "but is float16"),
        (saved(np.zeros(3, dtype=[("a", "<i4")])), FaultKind.WRONG_DTYPE, "records"),
        (saved(np.zeros((), dtype=np.int32)), FaultKind.WRONG_SHAPE, "the shape ()"),
        (saved(np.zeros((1, 1, 1), np.float32)), FaultKind.WRONG_SHAPE, "the shape (1, 1, 1)"),
    ],
)
def test_says_what_is_wrong(content: bytes, kind: FaultKind, reason: str) -> None:
    """Each kind of unusable bytes has its kind and its reason."""
    with pytest.raises(ArrayUnusable) as caught:
        parse_npy(content)
    assert kind == caught.value.kind
    assert reason in caught.value.detail


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def test_a_pickled_array_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    """Reading an array of pickled objects executes no code of theirs."""
    array = np.empty(1, dtype=object)
    array[0] = Bomb(tmp_path / "executed")
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(ArrayUnusable) as caught:
        read_array(str(tmp_path / "x.npy"))
    assert caught.value.kind is FaultKind.PICKLED
    assert not (tmp_path / "executed").exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A missing file, a directory and a named pipe are errors at once; none is waited for."""
    kinds = []
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    for name in ("missing", ".", "pipe", "nul\0"):
        with pytest.raises(ArrayUnusable) as caught:
            read_array(str(tmp_path / name))
        kinds.append(caught.value.kind)
    assert kinds[0] is FaultKind.MISSING_FILE
    assert kinds[1] is FaultKind.UNREADABLE


VALID = saved(np.arange(12, dtype=np.float32).reshape(3, 4))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=120).map(lambda tail: VALID[:10] + tail),
        st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)).map(
            lambda change: VALID[: change[0]] + bytes([change[1]]) + VALID[change[0] + 1 :]
        ),
        st.integers(0, len(VALID)).map(lambda size: VALID[:size]),
    )
)
def test_any_bytes_give_an_array_or_a_reason(content: bytes) -> None:
    """Whatever the bytes, the outcome is an array of a known type or a named fault."""
    with suppress(ArrayUnusable):
        array = parse_npy(content)
        assert array.dtype.str in {"<i4", "<f4"}
        assert array.ndim in {1, 2}
