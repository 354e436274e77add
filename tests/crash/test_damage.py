"""Damage in bulk: flips, pages, ends, exchanged files; each is found, nothing of it is loaded."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.format_1 import as_format
from support.recorded_run import Training
from unbroken.checkpoint.read import Checkpoint
from unbroken.errors import CheckpointCorrupt

PAGE = 4096
FLIPS = 1500
FLIPS_OF_A_SOAK = int(os.environ.get("UNBROKEN_SOAK_FLIPS", "20000"))


@pytest.fixture(scope="module", params=[1, 2])
def original(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Two checkpoints of one run in either format, the newer one inside a step."""
    training = Training(tmp_path_factory.mktemp("damage") / "run", keep=9)
    training.train(2)
    older = training.run.save()
    training.train(3)
    newer: list[Path] = []
    training.train(4, lambda at: newer.append(training.run.save()) if at.samples == 2 else None)
    training.run.close()
    return as_format(request.param, older), as_format(request.param, newer[0])


@pytest.fixture
def checkpoint(original: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the newer one."""
    return Path(shutil.copytree(original[1], tmp_path / original[1].name))


def is_found(checkpoint: Path, name: str) -> bool:
    """Say whether a damaged file is refused, verified as a whole or only read."""
    try:
        found = Checkpoint.at(checkpoint)
    except CheckpointCorrupt:
        return True
    try:
        found.verify()
    except CheckpointCorrupt:
        pass
    else:
        return False
    if name in ("facts.json", "evidence.json"):
        return True  # not part of the state: read on its own, from verified bytes
    try:
        found.parts()
    except CheckpointCorrupt:
        return True
    return False


def missed(checkpoint: Path, damages: Iterator[tuple[str, str, bytes]]) -> tuple[list[str], int]:
    """Apply each (file, description, content) alone; return what was not found, and how many."""
    wrong, count = [], 0
    for name, what, content in damages:
        path = checkpoint / name
        whole = path.read_bytes()
        if content == whole:
            continue
        path.write_bytes(content)
        count += 1
        if not is_found(checkpoint, name):
            wrong.append(f"{name}: {what}")
        path.write_bytes(whole)
    Checkpoint.at(checkpoint).verify()
    return wrong, count


def flips(checkpoint: Path, count: int) -> Iterator[tuple[str, str, bytes]]:
    """Flip one to three bits, anywhere, in files drawn at random."""
    draw = random.Random(5)  # noqa: S311  # which bits, no secret
    files = {each.name: each.read_bytes() for each in sorted(checkpoint.iterdir())}
    for _ in range(count):
        name = draw.choice(list(files))
        content = bytearray(files[name])
        places = [draw.randrange(8 * len(content)) for _ in range(draw.choice((1, 1, 2, 3)))]
        for place in places:
            content[place // 8] ^= 1 << place % 8
        yield name, f"bits {places}", bytes(content)


def regions(checkpoint: Path, width: int) -> Iterator[tuple[str, str, bytes]]:
    """Invert each stretch of every file."""
    for path in sorted(checkpoint.iterdir()):
        whole = path.read_bytes()
        for at in range(0, len(whole), width):
            piece = bytes(each ^ 0xFF for each in whole[at : at + width])
            yield path.name, f"inverted at {at}", whole[:at] + piece + whole[at + width :]


def pages_and_ends(checkpoint: Path) -> Iterator[tuple[str, str, bytes]]:
    """Zero each 4 KiB page, fill it with another one; cut at every class of length; lengthen."""
    for path in sorted(checkpoint.iterdir()):
        whole = path.read_bytes()
        size = len(whole)
        for at in range(0, size, PAGE):
            end = min(at + PAGE, size)
            yield path.name, f"zeros at {at}", whole[:at] + bytes(end - at) + whole[end:]
            yield path.name, f"a doubled page at {at}", whole[:at] + whole[: end - at] + whole[end:]
        lengths = {0, 1, 7, 8, 9, size // 2, size - 1, *range(0, size, 512), *range(0, size, PAGE)}
        lengths |= {length - 1 for length in range(PAGE, size, PAGE)}
        for length in sorted(lengths - {size}):
            yield path.name, f"cut at {length}", whole[:length]
        for more in (b"\0", b"\n", b" ", bytes(PAGE), whole):
            yield path.name, f"{len(more)} bytes more", whole + more


def test_flipped_bits_are_found(checkpoint: Path) -> None:
    """1,500 random flips over all files: all found, none loaded."""
    wrong, count = missed(checkpoint, flips(checkpoint, FLIPS))
    assert ([], True) == (wrong, count > FLIPS * 0.99)


def test_every_region_is_covered(checkpoint: Path) -> None:
    """No stretch of 97 bytes of any file can change unnoticed."""
    assert [] == missed(checkpoint, regions(checkpoint, 97))[0]


@pytest.mark.slow
def test_every_byte_and_many_more_flips_are_found(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every single byte of every file, and tens of thousands of random flips."""
    damages = itertools.chain(regions(checkpoint, 1), flips(checkpoint, FLIPS_OF_A_SOAK))
    wrong, count = missed(checkpoint, damages)
    with capsys.disabled():
        sys.stdout.write(f"\n{count} damages: {len(wrong)} missed\n")
    assert [] == wrong


def test_lost_pages_and_ends_are_found(checkpoint: Path) -> None:
    """Zeroed and doubled pages, ends cut at every class of length, and bytes too many."""
    wrong, count = missed(checkpoint, pages_and_ends(checkpoint))
    assert ([], True) == (wrong, count > 100)


def test_files_exchanged_between_two_checkpoints_are_found(
    original: tuple[Path, Path], checkpoint: Path
) -> None:
    """Each file of another checkpoint of the same run, alone: an older manifest too."""
    older = original[0]
    damages = ((each.name, "older", each.read_bytes()) for each in sorted(older.iterdir()))
    wrong, count = missed(checkpoint, damages)
    assert [] == wrong
    # The facts of one run are the same in all its checkpoints.
    assert len(list(older.iterdir())) - 1 == count


def test_an_older_state_under_a_newer_manifest_is_found(
    original: tuple[Path, Path], checkpoint: Path
) -> None:
    """All files of an older checkpoint under the newer one's manifest, and the reverse."""
    older = original[0]
    for each in older.iterdir():
        if each.name != "manifest.json":
            shutil.copy(each, checkpoint / each.name)
    assert is_found(checkpoint, "state.json")
    shutil.copytree(original[1], checkpoint, dirs_exist_ok=True)
    shutil.copy(older / "manifest.json", checkpoint / "manifest.json")
    assert is_found(checkpoint, "state.json")


def test_files_exchanged_within_a_checkpoint_are_found(checkpoint: Path) -> None:
    """Every file under the name of every other one."""
    files = {each.name: each.read_bytes() for each in sorted(checkpoint.iterdir())}
    damages = ((a, f"is {b}", files[b]) for a, b in itertools.permutations(files, 2))
    wrong, count = missed(checkpoint, damages)
    assert ([], len(files) * (len(files) - 1)) == (wrong, count)
