"""Which model, from which weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from unbroken_tts.settings.declaration import Group, Positive, Share, setting


class ModelSettings(Group, title="Model"):
    """The model, and the weights it starts from."""

    config: Path = setting(
        "may change",
        "YAML file whose `gpt:` section describes the model.",
        Path("checkpoints/config.yaml"),
        metavar="FILE",
    )
    base_checkpoint: str = setting(
        "may change",
        "Weights that a new run starts from (a gpt.pth); `none` starts from random weights.",
        "checkpoints/gpt.pth",
        metavar="FILE|none",
    )
    init_from: Path | None = setting(
        "may change",
        "Begin a new run from the weights of this file, checkpoint or run, with a new optimiser, "
        "schedule and order. To continue a run use --resume instead.",
        None,
        metavar="PATH",
    )
    weights_entry: str | None = setting(
        "may change",
        "Which weights to use where the file that a new run starts from has several, such as "
        "`ema_model`; the refusal of such a file lists them.",
        None,
        metavar="NAME",
    )
    adapter_alpha: Positive | None = setting(
        "may change",
        "Alpha of an unmerged LoRA adapter in the file that a new run starts from. By default that "
        "of the adapter_config.json beside the file.",
        None,
        metavar="A",
    )
    base_tokenizer: Path | None = setting(
        "may change",
        "The tokenizer of the weights that a new run starts from. It proves which rows of the text "
        "tables are the base's. By default the `dataset.bpe_model` of the config.yaml beside the "
        "weights, or of --config.",
        None,
        metavar="FILE",
    )
    new_rows: Literal["pieces", "mean"] = setting(
        "may change",
        "What the rows of new pieces start as: the mean of the `pieces` that the base's tokenizer "
        "spelt the new piece with, or the `mean` of all of the base's pieces, which is also taken "
        "where there are none or the base's tokenizer isn't known.",
        "pieces",
    )
    language: str | None = setting(
        "must match",
        "For IndexTTS-2.5: the language whose row of the language table is trained, such as `am`; the "
        "other rows never change. By default that of the largest share or of most tokens.",
        None,
        metavar="CODE",
    )
    init_language: str | None = setting(
        "may change",
        "For IndexTTS-2.5: the language whose row the trained one starts as in a new run, one of those "
        "that the base speaks: ar, en, es, ja, zh. By default the row that the base has for the "
        "language itself.",
        None,
        metavar="CODE",
    )
    dropout: Share | None = setting(
        "must match",
        "Dropout of the GPT in training, from 0 to below 1. By default the model's own: 0.1.",
        None,
        metavar="P",
    )
    layout: Literal["tight", "legacy"] = setting(
        "must match",
        "Layout of a batch: `tight` puts the codes directly after the text, so that no sample "
        "depends on the others in its batch; `legacy` pads the text as the earlier trainer did.",
        "tight",
    )
    train_base_rows: bool = setting(
        "must match",
        "Also train the rows of the base vocabulary. Without it they are frozen, and only the "
        "rows added by an extended tokenizer are trained.",
        default=False,
    )
    codec: Path | None = setting(
        "may change",
        "Directory of the codec that produced the codes; needed only for sample audio.",
        None,
        metavar="DIR",
    )
