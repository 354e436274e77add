"""What is seen of the run; nothing here changes it."""

from __future__ import annotations

from unbroken_tts.settings.declaration import Count, Group, setting


class LogSettings(Group, title="Log and validation"):
    """What is seen of the run; nothing here changes it."""

    log_interval: Count = setting(
        "may change",
        "Steps between lines of the log; 0 logs none.",
        100,
        metavar="N",
    )
    verbose: bool = setting(
        "may change",
        "Show a line for every check of a resume; without it, what agrees is counted by area. The "
        "report in the logs has every line.",
        default=False,
    )
    val_interval: Count = setting(
        "may change",
        "Steps between validations; 0 validates once per epoch.",
        1000,
        metavar="N",
    )
    val_batch_size: Count = setting(
        "may change",
        "Samples in one forward pass of validation; 0 is twice the batch size. The result doesn't "
        "depend on it.",
        0,
        metavar="N",
    )
    max_val_batches: Count = setting(
        "may change",
        "Batches of one validation; 0 takes all.",
        200,
        metavar="N",
    )
    sample_audio: Count = setting(
        "may change",
        "Validation sentences spoken into TensorBoard at each validation; needs --codec.",
        0,
        metavar="N",
    )
