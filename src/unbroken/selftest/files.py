"""Faults of files: flipped bits, cut ends, parts of two checkpoints, what is chosen."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unbroken.checkpoint import disk
from unbroken.selftest.fault import Area, Scene

AREA = Area("files")
ASIDE = ("fell back",)


def _bytes(path: Path, content: bytes) -> None:
    disk.replace_file(path, content)


def _flip(name: str, from_end: int, mask: int, scene: Scene) -> None:
    path = scene.checkpoint / name
    content = bytearray(path.read_bytes())
    content[-from_end] ^= mask
    _bytes(path, bytes(content))


# The last byte of a little-endian float holds its sign and the top of its exponent.
for part, at, mask in (("model", 1, 0x80), ("model", 401, 0x01), ("optimizer", 5, 0x40),
    ("optimizer", 2001, 0x02)):  # fmt: skip
    AREA.fault(
        f"bit-flipped-in-{part}-{at}",
        f"one bit of the saved {part} flips, {at} bytes from the end",
        *ASIDE,
        mechanism="bit-flip",
        source="R111",
    )(partial(_flip, f"{part}.safetensors", at, mask))


def _cut(name: str, keep: float, scene: Scene) -> None:
    path = scene.checkpoint / name
    content = path.read_bytes()
    _bytes(path, content[: int(keep * len(content))])


for name, keep in (("model.safetensors", 0.5), ("optimizer.safetensors", 0.99), ("state.json", 0.0),
    ("state.json", 0.7)):  # fmt: skip
    AREA.fault(
        f"{name.partition('.')[0]}-cut-at-{int(100 * keep)}",
        f"{name} ends after {int(100 * keep)} % of its bytes",
        *ASIDE,
        mechanism="truncated-file",
        source="R111, A14, D3",
    )(partial(_cut, name, keep))


@AREA.fault("file-missing", "a file of the checkpoint is gone", *ASIDE, source="R112")
def _missing(scene: Scene) -> None:
    disk.remove_tree(scene.checkpoint / "optimizer.safetensors")


def _older(name: str, scene: Scene) -> None:
    older = min((scene.directory / "checkpoints").iterdir()) / name
    _bytes(scene.checkpoint / name, older.read_bytes())


for name in ("model", "optimizer", "ema"):
    AREA.fault(
        f"{name}-of-an-older-checkpoint",
        f"the file of the {name} is that of an older checkpoint",
        *ASIDE,
        mechanism="mixed-checkpoint",
        source="R116, R117",
    )(partial(_older, f"{name}.safetensors"))


@AREA.fault(
    "block-of-zeros", "a block of the saved model came back as zeros", *ASIDE, source="R112"
)
def _zeros(scene: Scene) -> None:
    path = scene.checkpoint / "model.safetensors"
    content = path.read_bytes()
    _bytes(path, content[:-1024] + bytes(1024))


@AREA.fault("weights-written-over", "another program wrote its weights into the checkpoint", *ASIDE,
    source="R122")  # fmt: skip
def _written_over(scene: Scene) -> None:
    path = scene.checkpoint / "model.safetensors"
    content = path.read_bytes()
    whole = bytearray(content)
    whole[-2048:] = whole[-4096:-2048]
    _bytes(path, bytes(whole))


@AREA.fault("not-a-number-in-a-file", "a weight in the file is not a number", *ASIDE, source="R129")
def _nan(scene: Scene) -> None:
    path = scene.checkpoint / "model.safetensors"
    content = path.read_bytes()
    _bytes(path, content[:-4] + b"\x00\x00\xc0\x7f")


@AREA.fault("counter-edited", "the saved state is edited: it says another position", *ASIDE,
    source="R140")  # fmt: skip
def _edited(scene: Scene) -> None:
    path = scene.checkpoint / "state.json"
    content = path.read_bytes()
    _bytes(path, content.replace(b'"step": 10', b'"step": 13').replace(b'"step":10', b'"step":13'))
