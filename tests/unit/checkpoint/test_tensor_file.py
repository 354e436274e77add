"""Tensor files: the safetensors format both ways, and nothing but an error from a damaged one."""

from __future__ import annotations

import contextlib
import json
import random
import resource
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from support.sameness import same
from unbroken.checkpoint.tensor_file import (
    SHARED_READ,
    open_tensors,
    read_tensors,
    write_tensors,
)
from unbroken.errors import CheckpointCorrupt, NotEncodable
from unbroken.state.dtypes import DTYPES


def of_every_dtype() -> dict[str, torch.Tensor]:
    raw = torch.arange(48, dtype=torch.uint8)
    found = {
        f"leaf.{name}": (raw % 2 if dtype is torch.bool else raw).view(dtype).reshape(2, -1)
        for name, dtype in DTYPES.items()
    }
    found |= {
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0),
        "empty.matrix": torch.empty(3, 0, 2, dtype=torch.int8),
        'name with blanks, ሰላም and "quotes"': torch.ones(1, 1, 1),
    }
    return found


def file_of(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_the_library_reads_ours(tmp_path: Path) -> None:
    """The `safetensors` library finds the same tensors in a file of ours."""
    tensors = of_every_dtype()
    write_tensors(tmp_path / "file", tensors)
    assert same(dict(sorted(tensors.items())), dict(sorted(load_file(tmp_path / "file").items())))


def test_ours_reads_the_librarys(tmp_path: Path) -> None:
    """We find the same tensors in a file of the library, metadata or not."""
    tensors = of_every_dtype()
    tensors = {name: each.clone() for name, each in tensors.items()}  # it refuses shared memory
    save_file(tensors, tmp_path / "file", metadata={"format": "pt"})
    assert same(
        dict(sorted(tensors.items())), dict(sorted(read_tensors(tmp_path / "file").items()))
    )


def test_what_is_written_is_read_in_its_order(tmp_path: Path) -> None:
    """Names, dtypes, shapes, bytes and order come back, from views as from whole tensors."""
    base = torch.arange(12.0).reshape(3, 4)
    views = {"z": base.T, "a": base[1:], "m": base[:, ::2], "e": torch.ones(1).expand(3)}
    write_tensors(tmp_path / "file", views)
    assert same(
        {n: each.contiguous() for n, each in views.items()}, read_tensors(tmp_path / "file")
    )


def test_no_tensors_make_a_file(tmp_path: Path) -> None:
    """A file of no tensors can be written and read."""
    write_tensors(tmp_path / "file", {})
    assert {} == read_tensors(tmp_path / "file")


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """What is there is left alone."""
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_tensors(tmp_path / "file", {"a": torch.ones(1)})
    assert b"mine" == (tmp_path / "file").read_bytes()


def test_a_dtype_without_a_name_is_refused(tmp_path: Path) -> None:
    """What the format has no name for is an error that names the leaf."""
    with pytest.raises(NotEncodable, match=r"leaf\.x"):
        write_tensors(tmp_path / "file", {"leaf.x": torch.ones(1, dtype=torch.complex128)})


@pytest.mark.parametrize("name", sorted(of_every_dtype()))
def test_a_stored_tensor_is_read_to_where_it_belongs(tmp_path: Path, name: str) -> None:
    """Read into live storages, contiguous or not, every bit arrives."""
    tensors = of_every_dtype()
    write_tensors(tmp_path / "file", tensors)
    stored = open_tensors(tmp_path / "file")[name]
    wide = torch.zeros((*stored.shape, 2), dtype=torch.uint8).to(stored.dtype)
    for live in (torch.zeros(stored.shape, dtype=torch.uint8).to(stored.dtype), wide[..., 0]):
        stored.read_into(live)
        assert same(tensors[name], live.contiguous())


SMALL = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}

BAD_ENTRIES: list[object] = [
    None,
    [],
    "x",
    {},
    {"dtype": "F32", "shape": [2]},
    {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]},
    {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
    {"dtype": "F64", "shape": [2], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": ["2"], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [0, 1 << 70], "data_offsets": [0, 0]},
    {"dtype": "F32", "shape": [0, 1 << 62, 1 << 62], "data_offsets": [0, 0]},
    {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
    {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
    {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
    {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 16]},
    {"dtype": "F32", "shape": [2], "data_offsets": "ab"},
    {"dtype": "F32", "shape": [2], "data_offsets": [0, 1 << 70]},
]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 0),
        struct.pack("<Q", 1 << 63),
        struct.pack("<Q", 99_999_999) + b"{}",
        file_of(b"{", bytes(8)),
        file_of(b"[]"),
        file_of(b"null"),
        file_of(b"\xff\xfe{}"),
        file_of(b"[" * 50_000),
        file_of(SMALL, bytes(7)),
        file_of(SMALL, bytes(9)),
        file_of(SMALL),
        file_of(SMALL, bytes(8), length=10_000),
        *(file_of({"a": entry}, bytes(8)) for entry in BAD_ENTRIES),
        file_of({"a": SMALL["a"], "b": SMALL["a"]}, bytes(8)),
        file_of({"a": SMALL["a"], "b": SMALL["a"]}, bytes(16)),
        file_of(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,8]}}'),
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Headers that lie are damage: never another error, never a tensor."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointCorrupt):
        read_tensors(tmp_path / "file")


def test_a_lie_costs_no_memory(tmp_path: Path) -> None:
    """A small file that claims to be huge is refused without memory being asked for."""
    huge = {"a": {"dtype": "F64", "shape": [1 << 40], "data_offsets": [0, 1 << 43]}}
    (tmp_path / "file").write_bytes(file_of(huge, bytes(64)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    with pytest.raises(CheckpointCorrupt):
        read_tensors(tmp_path / "file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_any_truncation_is_found(tmp_path: Path) -> None:
    """A file cut off anywhere is refused."""
    write_tensors(tmp_path / "whole", {"a": torch.arange(4), "b": torch.ones(2)})
    whole = (tmp_path / "whole").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(CheckpointCorrupt):
            read_tensors(tmp_path / "cut")


def test_a_file_that_shrinks_while_it_is_read_is_found(tmp_path: Path) -> None:
    """Between the header and the tensor, the end may vanish; what was read is not handed out."""
    write_tensors(tmp_path / "file", {"a": torch.arange(400)})
    stored = open_tensors(tmp_path / "file")["a"]
    with (tmp_path / "file").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(CheckpointCorrupt, match="ends inside"):
        stored.read()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(file_of))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Whatever bytes are found, reading ends with tensors or with CheckpointCorrupt."""
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(content)
    try:
        found = read_tensors(path)
    except CheckpointCorrupt:
        return
    (length,) = struct.unpack("<Q", content[:8])
    assert len(content) == 8 + length + sum(each.nbytes for each in found.values())


def test_a_changed_header_is_refused_or_read_as_what_it_says(tmp_path: Path) -> None:
    """Any byte of the header may change: the file is refused, or holds tensors it fully describes."""
    write_tensors(tmp_path / "whole", of_every_dtype())
    whole = bytearray((tmp_path / "whole").read_bytes())
    (length,) = struct.unpack("<Q", whole[:8])
    own = random.Random(0)  # noqa: S311  # which bytes, no secret
    for _ in range(300):
        changed = bytearray(whole)
        changed[own.randrange(8 + length)] ^= 1 << own.randrange(8)
        (tmp_path / "file").write_bytes(changed)
        with contextlib.suppress(CheckpointCorrupt):
            found = read_tensors(tmp_path / "file")
            sizes = [each.numel() * each.element_size() for each in found.values()]
            assert len(whole) - 8 - length == sum(sizes)


@pytest.mark.parametrize("more", [-8, 0, 8, 4096])
def test_a_large_tensor_is_read_by_two_threads(tmp_path: Path, more: int) -> None:
    """Around the size from which on two threads share it, every byte arrives in its place."""
    saved = torch.arange((SHARED_READ + more) // 8, dtype=torch.int64)
    write_tensors(tmp_path / "file", {"first": torch.ones(3), "large": saved})
    live = torch.zeros_like(saved)
    open_tensors(tmp_path / "file")["large"].read_into(live)
    assert torch.equal(saved, live)
