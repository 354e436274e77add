"""What it runs on; nothing here changes what is learnt, but for rounding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from unbroken_tts.settings.declaration import Count, Group, Threads, setting


class HardwareSettings(Group, title="Hardware"):
    """The hardware to use; these settings change the results only by rounding."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$")] = setting(
        "may change",
        "auto, cpu, cuda or cuda:N.",
        "auto",
        metavar="NAME",
    )
    amp: bool | None = setting(
        "must match",
        "Mixed precision on a GPU: bfloat16 if the GPU supports it, else float16 with a gradient "
        "scaler. On by default with a GPU; --no-amp computes in float32. A CPU computes in "
        "float32 either way, unless --precision bf16 is given.",
        None,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "must match",
        "Precision by name; anything but auto overrides --amp.",
        "auto",
    )
    grad_checkpointing: bool = setting(
        "may change",
        "Recompute activations in the backward pass: needs less memory, is about a third slower.",
        default=False,
    )
    num_workers: Count | Literal["none"] = setting(
        "may change",
        "Number of processes that prefetch samples; 0 chooses by cores and GPU, `none` reads in "
        "the training process itself. Order and results are the same for every number.",
        0,
        metavar="N|none",
    )
    threads: Threads = setting(
        "may change",
        "Number of threads an operation may use on the CPU; 0 uses torch's default. The last bits "
        "of a loss depend on it, so it is recorded with the run.",
        0,
        metavar="N",
    )
