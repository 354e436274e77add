"""Chooses the precision of the forward pass by the settings and the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unbroken import SettingsInvalid
from unbroken_tts.hardware.machine import Hardware

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlan:
    """The precision of the forward pass."""

    precision: Precision
    """`fp32` without autocast; `bf16` and `fp16` under autocast, with weights in fp32."""
    has_scaler: bool
    """Whether to scale the loss with a GradScaler (fp16 only)."""
    has_tf32: bool
    """Whether fp32 matrix products on the GPU may use TF32."""
    reason: str
    """The reason for the choice, for the report."""


def plan_precision(
    hardware: Hardware,
    *,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    amp: bool | None = None,
) -> PrecisionPlan:
    """Choose the precision of the forward pass.

    Args:
        hardware: The result of `detect`.
        precision: The user's setting; anything but `auto` overrides `amp`.
        amp: `--amp` (True), `--no-amp` (False), or neither (None: on with a GPU).

    Raises:
        SettingsInvalid: The device doesn't support the precision.
    """
    if precision != "auto":
        _check_precision(hardware, precision)
        return _precision_plan(hardware, precision, "--precision")
    if not hardware.is_cuda:
        reason = "--amp applies to GPUs; use --precision bf16 on a CPU"
        return _precision_plan(hardware, "fp32", reason if amp else "processor")
    if amp is False:
        return _precision_plan(hardware, "fp32", "--no-amp")
    if hardware.has_bf16:
        return _precision_plan(hardware, "bf16", "the GPU supports it")

    return _precision_plan(hardware, "fp16", "the GPU has no bfloat16; with a gradient scaler")


def _precision_plan(hardware: Hardware, precision: Precision, reason: str) -> PrecisionPlan:
    return PrecisionPlan(
        precision=precision,
        has_scaler=precision == "fp16",
        has_tf32=hardware.has_tf32,
        reason=reason,
    )


def _check_precision(hardware: Hardware, precision: Precision) -> None:
    if precision == "fp16" and not hardware.is_cuda:
        raise SettingsInvalid(
            f"--precision is 'fp16', but the device is {hardware.device} ({hardware.name}).",
            "float16 needs a gradient scaler, which is made for GPUs.",
            "Use --precision fp32 or bf16, or a GPU.",
        )
    if precision == "bf16" and hardware.is_cuda and not hardware.has_bf16:
        raise SettingsInvalid(
            f"--precision is 'bf16', but {hardware.name} has no bfloat16 units.",
            "The GPU would emulate it, many times slower than float16.",
            "Use --precision fp16 or fp32, or omit the flag.",
        )


def configure(hardware: Hardware, precision: PrecisionPlan, *, threads: int = 0) -> int:
    """Set the thread count and TF32 for this process.

    Args:
        hardware: The result of `detect`.
        precision: The result of `plan_precision`.
        threads: Threads of one operation on the CPU; 0 keeps torch's default, which respects
            `OMP_NUM_THREADS`, and fixes it, so that it can be a fact of the run.

    Returns:
        The thread count in force.
    """
    import torch

    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    if hardware.is_cuda:
        torch.set_float32_matmul_precision("high" if precision.has_tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = precision.has_tf32
    return threads
