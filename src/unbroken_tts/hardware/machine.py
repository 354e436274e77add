"""The machine as it was found: the only module here that looks at it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Final

import psutil

from unbroken import SettingsInvalid, usable_cores

GIB: Final = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What was found on this machine."""

    device: str
    """Name that torch understands: `cpu`, `cuda:0`, `cuda:1`."""
    name: str
    """Name of the card or the processor, for people."""
    memory_gib: float
    """Total memory of the card in GiB (2**30 bytes); main memory where there is no card."""
    cores: int
    """Processor cores this process may use, at least 1."""
    has_bf16: bool
    """Whether the device computes in bfloat16 itself, without emulation."""
    has_tf32: bool
    """Whether the card has TF32 matrix units (compute capability 8.0 and newer)."""

    @property
    def is_cuda(self) -> bool:
        """Whether the device is an NVIDIA card."""
        return self.device.startswith("cuda")


def detect(device: str = "auto") -> Hardware:
    """Look at the machine.

    Args:
        device: `auto` (the first card, else the processor), `cpu`, `cuda` or `cuda:N`.

    Raises:
        SettingsInvalid: The device named isn't there.
    """
    import torch

    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not available):
        return _processor()
    index = 0 if device in {"auto", "cuda"} else int(device.removeprefix("cuda:"))
    if index >= available:
        raise SettingsInvalid(
            f"--device is '{device}', but torch {torch.__version__} sees {available} NVIDIA cards.",
            "Training there can't begin; a CPU build of torch sees none at all.",
            "Use --device auto, or install the CUDA build of torch and check `nvidia-smi`.",
        )
    card = torch.cuda.get_device_properties(index)
    with torch.cuda.device(index):
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Hardware(
        device=f"cuda:{index}",
        name=card.name,
        memory_gib=card.total_memory / GIB,
        cores=usable_cores(),
        has_bf16=has_bf16,
        has_tf32=card.major >= 8,
    )


def _processor() -> Hardware:
    return Hardware(
        device="cpu",
        name=platform.processor() or platform.machine(),
        memory_gib=psutil.virtual_memory().total / GIB,
        cores=usable_cores(),
        has_bf16=True,
        has_tf32=False,
    )
