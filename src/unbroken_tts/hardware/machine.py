"""Detects the hardware; the only module here that inspects the machine."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Final

import psutil

from unbroken import SettingsInvalid, usable_cores

GIB: Final = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The hardware of this machine."""

    device: str
    """Name that torch understands: `cpu`, `cuda:0`, `cuda:1`."""
    name: str
    """Human-readable name of the GPU or the CPU."""
    memory_gib: float
    """Total memory of the GPU in GiB (2**30 bytes); main memory if there is no GPU."""
    cores: int
    """CPU cores this process may use, at least 1."""
    has_bf16: bool
    """Whether the device computes in bfloat16 natively, without emulation."""
    has_tf32: bool
    """Whether the GPU has TF32 matrix units (compute capability 8.0 and newer)."""

    @property
    def is_cuda(self) -> bool:
        """Whether the device is an NVIDIA GPU."""
        return self.device.startswith("cuda")


def detect(device: str = "auto") -> Hardware:
    """Return the hardware of this machine.

    Args:
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        SettingsInvalid: There is no such device.
    """
    import torch

    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not available):
        return _processor()
    index = 0 if device in {"auto", "cuda"} else int(device.removeprefix("cuda:"))
    if index >= available:
        raise SettingsInvalid(
            f"--device is '{device}', but torch {torch.__version__} sees {available} NVIDIA GPUs.",
            "The device isn't available to torch; a CPU build of torch sees no GPU at all.",
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
