"""The software that decides the bits of a step: versions of libraries, and the user's own files.

Only what a part's class comes from is named, with the program that was started: looking at every
module that was imported would take longer than a start may.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import nn

from unbroken.state.digest import file_digest

LIBRARIES: Final = "libraries"
FILES: Final = "files"
CONVOLUTIONS: Final = "convolutions"
GROUPS: Final = (LIBRARIES, FILES, CONVOLUTIONS)
"""Facts of the environment that an earlier version did not write."""

_STARTED = "__main__"
_INSTALLED = {"site-packages", "dist-packages"}
_TOLD_OTHERWISE = {"torch", __name__.partition(".")[0]}
_DRIVER = Path("/proc/driver/nvidia/version")


def software(parts: Iterable[Any]) -> dict[str, Any]:
    """Return the facts of the environment that name software.

    Args:
        parts: The declared objects. Of a module, the classes of all modules inside count.
    """
    libraries, files = {"numpy": metadata.version("numpy"), **_beside_a_card()}, {}
    for name, module in sorted(_modules_of(parts).items()):
        path = _file_of(module)
        if path is None:
            continue
        if not _INSTALLED.isdisjoint(path.parts):
            # An installed program that only started the training, such as pytest or a notebook's
            # kernel, decides no bit: the next start may have another.
            if name != _STARTED:
                libraries[name.partition(".")[0]] = _version(name.partition(".")[0])
        elif (digest := _digest(path)) is not None:
            files[name] = digest
    return {LIBRARIES: libraries, FILES: files, CONVOLUTIONS: _convolutions()}


def _modules_of(parts: Iterable[Any]) -> dict[str, ModuleType]:
    names = {kind.__module__ for each in parts for kind in _classes(each)} | {_STARTED}
    standard = sys.stdlib_module_names | _TOLD_OTHERWISE
    own = {name for name in names if name.partition(".")[0] not in standard - {_STARTED}}
    return {name: sys.modules[name] for name in own if name in sys.modules}


def _classes(part: Any) -> Iterator[type]:
    """Yield the classes whose code a part runs, of which it inherits included."""
    inside = part.modules() if isinstance(part, nn.Module) else [part]
    for kind in {type(each) for each in inside}:
        yield from inspect.getmro(kind)


def _file_of(module: ModuleType) -> Path | None:
    path = getattr(module, "__file__", None)
    return Path(path) if path else None


def _digest(path: Path) -> str | None:
    try:
        return "xxh3:" + file_digest(path)
    except OSError:  # in an archive, or deleted since
        return None


def _version(name: str) -> str:
    """Return the version of an installed top-level module; its distribution mostly has its name."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(name), "__version__", "unknown"))


def _beside_a_card() -> dict[str, str]:
    """Return the versions of what computes beside torch where there is a card."""
    if not torch.cuda.is_available():
        return {}
    found = {"cuDNN": str(torch.backends.cudnn.version())}
    if torch.distributed.is_nccl_available():
        found["NCCL"] = ".".join(str(each) for each in torch.cuda.nccl.version())
    if "triton" in sys.modules:
        found["triton"] = _version("triton")
    try:
        told = _DRIVER.read_text("utf-8").partition("Kernel Module")[2].split()
    except OSError:
        told = []
    return found | (
        {"driver": next((each for each in told if each[0].isdigit()), "unknown")} if told else {}
    )


def _convolutions() -> str:
    """Return what a card's convolutions of fp32 may compute in."""
    try:
        return "tf32" if torch.backends.cudnn.allow_tf32 else "fp32"
    except RuntimeError:  # the newer settings of precision were used
        newer = getattr(torch.backends.cudnn, "conv", None)
        return str(getattr(newer, "fp32_precision", "unknown"))
