"""How the weights learn."""

from __future__ import annotations

from typing import Literal

from unbroken_tts.settings.declaration import (
    AtLeastOne,
    Count,
    Group,
    NotNegative,
    Positive,
    Seed,
    Share,
    setting,
)


class OptimisationSettings(Group, title="Optimisation"):
    """Batch size, schedule, losses and order."""

    batch_size: Count = setting(
        "may change",
        "Samples in one forward pass (micro-batch); 0 chooses by the memory of the GPU.",
        0,
        metavar="N",
    )
    grad_accumulation: Count = setting(
        "may change",
        "Micro-batches in one step; 0 chooses by the batch size and the memory of the GPU. Batch "
        "size times accumulation is the effective batch, which a resumed run keeps.",
        0,
        metavar="N",
    )
    epochs: AtLeastOne = setting(
        "must match",
        "Passes over the training data, unless --max-steps ends the run.",
        10,
        metavar="N",
    )
    max_steps: Count = setting(
        "must match",
        "Length of the run and of its learning-rate schedule in steps; 0 uses --epochs.",
        0,
        metavar="N",
    )
    learning_rate: Positive = setting(
        "must match",
        "Peak learning rate, reached at the end of the warm-up.",
        2e-5,
        metavar="RATE",
    )
    warmup_steps: Count = setting(
        "must match",
        "Updates over which the learning rate rises to its peak.",
        1000,
        metavar="N",
    )
    schedule: Literal["cosine", "legacy"] = setting(
        "must match",
        "`cosine` decays to zero after the warm-up, and its first update has a rate above 0; "
        "`legacy` is the curve of the earlier trainer, whose first update has rate 0.",
        "cosine",
    )
    weight_decay: NotNegative = setting(
        "must match",
        "Decoupled weight decay of AdamW, per unit of learning rate.",
        0.01,
        metavar="W",
    )
    decay: Literal["matrices", "all"] = setting(
        "must match",
        "What to decay: the weight matrices only, or also biases, norms and embeddings, as the "
        "earlier trainer did.",
        "matrices",
    )
    new_rows_lr_scale: Positive = setting(
        "must match",
        "Factor on the learning rate of the vocabulary rows added by an extended tokenizer.",
        1.0,
        metavar="X",
    )
    grad_clip: NotNegative = setting(
        "must match",
        "Maximum norm of the gradient over all parameters; 0 disables clipping.",
        1.0,
        metavar="NORM",
    )
    text_loss_weight: NotNegative = setting(
        "must match",
        "Weight of the text loss in the total.",
        0.2,
        metavar="W",
    )
    mel_loss_weight: NotNegative = setting(
        "must match",
        "Weight of the mel-code loss in the total.",
        0.8,
        metavar="W",
    )
    loss_weighting: Literal["tokens", "legacy"] = setting(
        "must match",
        "`tokens` gives every token of a step the same weight, whatever the micro-batches; "
        "`legacy` averages per micro-batch, as the earlier trainer did.",
        "tokens",
    )
    order: Literal["bucketed", "random"] = setting(
        "must match",
        "`bucketed` puts samples of similar length into a step, which avoids most of the padding; "
        "`random` ignores lengths.",
        "bucketed",
    )
    exact_across_devices: Count = setting(
        "must match",
        "Cut each step into N micro-batches and add their gradients up in a fixed order, so that any "
        "number of processes up to N computes the same bits on one kind of machine; 0 for the fastest way.",
        0,
        metavar="N",
    )
    ema_decay: Share = setting(
        "must match",
        "Decay of an additional moving average of the weights; 0 keeps none.",
        0.0,
        metavar="D",
    )
    seed: Seed = setting(
        "must match",
        "Seed of the run: everything random derives from it and the position.",
        1234,
        metavar="N",
    )
