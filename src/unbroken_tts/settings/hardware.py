"""What it runs on; nothing here changes what is learnt, but for rounding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from unbroken_tts.settings.declaration import Count, Group, Threads, setting


class HardwareSettings(Group, title="Hardware"):
    """What it runs on; nothing here changes what is learnt, but for rounding."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$")] = setting(
        "may change",
        "auto, cpu, cuda or cuda:N.",
        "auto",
        metavar="NAME",
    )
    amp: bool | None = setting(
        "must match",
        "Mixed precision on a graphics card: bfloat16 where it has it, else float16 with a "
        "gradient scaler. On by itself with a card; --no-amp stays in float32. A processor "
        "computes in float32 either way, unless --precision bf16 asks for more.",
        None,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "must match",
        "Precision by name; anything but auto wins over --amp.",
        "auto",
    )
    grad_checkpointing: bool = setting(
        "may change",
        "Recompute activations in the backward pass: less memory, about a third slower.",
        default=False,
    )
    num_workers: Count | Literal["none"] = setting(
        "may change",
        "Processes that read samples ahead; 0 chooses by cores and card, `none` reads in the "
        "training process itself. The order and the results are the same for every number.",
        0,
        metavar="N|none",
    )
    threads: Threads = setting(
        "may change",
        "Threads one operation may use on the processor; 0 takes what torch finds. The last bits "
        "of a loss depend on it, so it is recorded with the run.",
        0,
        metavar="N",
    )
