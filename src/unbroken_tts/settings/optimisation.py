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
    """How the weights learn."""

    batch_size: Count = setting(
        "may change",
        "Samples in one forward pass (micro-batch); 0 chooses by the memory of the card.",
        0,
        metavar="N",
    )
    grad_accumulation: Count = setting(
        "may change",
        "Micro-batches in one step; 0 chooses so that the effective batch stays near the table's. "
        "Batch size times accumulation is the effective batch; a resumed run keeps it.",
        0,
        metavar="N",
    )
    epochs: AtLeastOne = setting(
        "must match",
        "Times every sample is seen, unless --max-steps ends the run.",
        10,
        metavar="N",
    )
    max_steps: Count = setting(
        "must match",
        "Steps after which the run is done and the learning rate has come down; 0 goes by "
        "--epochs.",
        0,
        metavar="N",
    )
    learning_rate: Positive = setting(
        "must match",
        "Highest learning rate, reached at the end of the warm-up.",
        2e-5,
        metavar="RATE",
    )
    warmup_steps: Count = setting(
        "must match",
        "Updates over which the learning rate rises to its highest value.",
        1000,
        metavar="N",
    )
    schedule: Literal["cosine", "legacy"] = setting(
        "must match",
        "`cosine` falls to zero after the warm-up and its first update already learns; `legacy` "
        "counts as the earlier trainer did, whose first update has rate 0.",
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
        "What weight decay acts on: the weight matrices only, or also biases, norms and embeddings "
        "as the earlier trainer did.",
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
        "Largest norm of the gradient over all parameters; 0 doesn't clip.",
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
        "`tokens` weighs every token of a step alike, however it is cut into micro-batches; "
        "`legacy` averages per micro-batch as the earlier trainer did.",
        "tokens",
    )
    order: Literal["bucketed", "random"] = setting(
        "must match",
        "`bucketed` puts samples of similar length into a step, which saves most of the padding; "
        "`random` doesn't look at lengths.",
        "bucketed",
    )
    ema_decay: Share = setting(
        "must match",
        "Decay of a moving average of the weights, kept beside them; 0 keeps none.",
        0.0,
        metavar="D",
    )
    seed: Seed = setting(
        "must match",
        "Everything random in the run derives from this number and the position.",
        1234,
        metavar="N",
    )
