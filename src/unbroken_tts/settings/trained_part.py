"""Which part of the model learns."""

from __future__ import annotations

from typing import Literal

from unbroken_tts.settings.declaration import Count, Group, Positive, Share, setting


class TrainedPartSettings(Group, title="What is trained"):
    """Chosen layers and LoRA adapters; everything else is frozen, which saves memory."""

    train_layers: str = setting(
        "must match",
        "Layers to train as they are; all others are frozen. A list of: numbers of blocks "
        "(0-3,22), first:N, last:N, blocks, text (embedding and head), mel, heads, embeddings, "
        "positions, norms; or all, or none. `auto` is all, and with --lora-rank the text tables, if "
        "the tokenizer isn't known to be the base's.",
        "auto",
        metavar="LAYERS",
    )
    lora_rank: Count = setting(
        "must match",
        "Train low-rank adapters of this rank on the blocks that --train-layers doesn't name, "
        "instead of the blocks themselves; 0 adds none. An export merges them.",
        0,
        metavar="N",
    )
    lora_alpha: Positive | None = setting(
        "must match",
        "Strength of the adapters: what they add is multiplied by alpha over rank. By default "
        "twice the rank.",
        None,
        metavar="A",
    )
    lora_dropout: Share = setting(
        "must match",
        "Dropout of the inputs of the adapters in training, beside --dropout.",
        0.0,
        metavar="P",
    )
    lora_targets: Literal["all", "attention", "mlp"] = setting(
        "must match",
        "Projections of a block that get adapters: those of the attention, of the MLP, or all.",
        "all",
    )
