"""Which model, from which weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from unbroken_tts.settings.declaration import Group, Share, setting


class ModelSettings(Group, title="Model"):
    """Which model, from which weights."""

    config: Path = setting(
        "may change",
        "YAML file whose `gpt:` section describes the model.",
        Path("checkpoints/config.yaml"),
        metavar="FILE",
    )
    base_checkpoint: str = setting(
        "may change",
        "Weights a new run starts from (a gpt.pth); `none` starts from fresh random weights.",
        "checkpoints/gpt.pth",
        metavar="FILE|none",
    )
    init_from: Path | None = setting(
        "may change",
        "Start a new run from the weights of this file, checkpoint or run; optimiser, schedule "
        "and order begin afresh. To go on with a run use --resume instead.",
        None,
        metavar="PATH",
    )
    dropout: Share | None = setting(
        "must match",
        "Dropout of the GPT in training, 0 to below 1. Without it the model's own: 0.1.",
        None,
        metavar="P",
    )
    layout: Literal["tight", "legacy"] = setting(
        "must match",
        "How a batch is laid out: `tight` puts the codes directly behind the text, so that no "
        "sample depends on its batch mates; `legacy` pads the text as the earlier trainer did.",
        "tight",
    )
    train_base_rows: bool = setting(
        "must match",
        "Also train the rows of the base vocabulary. Without it they are frozen to the bit and "
        "only the rows added by an extended tokenizer learn.",
        default=False,
    )
    codec: Path | None = setting(
        "may change",
        "Folder of the codec the codes were made with; needed only for sample audio.",
        None,
        metavar="DIR",
    )
