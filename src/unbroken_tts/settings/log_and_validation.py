"""What is seen of the run; nothing here changes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from unbroken_tts.settings.declaration import Count, Group, NotNegative, setting


class LogSettings(Group, title="Log and validation"):
    """What a run logs, and how it validates; nothing here changes the training."""

    log_interval: Count = setting(
        "may change",
        "Steps between log lines; 0 logs none.",
        100,
        metavar="N",
    )
    verbose: bool = setting(
        "may change",
        "Show a line for every check of a resume; without it, checks that agree are only counted, "
        "by area. The report in the logs has every line.",
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
        "Samples in one forward pass of validation; 0 means twice the batch size. The result "
        "doesn't depend on it.",
        0,
        metavar="N",
    )
    max_val_batches: Count = setting(
        "may change",
        "Number of batches in a validation; 0 uses all samples.",
        200,
        metavar="N",
    )
    forgetting_guard: NotNegative = setting(
        "may change",
        "Warn when the validation loss of a language other than the one being learnt grows by more "
        "than this share of its first value; 0 never warns. The one being learnt has the largest "
        "share of --mix, or without it the most training tokens.",
        0.05,
        metavar="SHARE",
    )
    sample_audio: Count = setting(
        "may change",
        "Number of validation sentences to speak at each validation, as audio in TensorBoard; "
        "needs --codec.",
        0,
        metavar="N",
    )
    track: tuple[Literal["wandb", "mlflow", "trackio"], ...] = setting(
        "may change",
        "Also show every step in Weights & Biases, MLflow or Trackio, as one run over all starts; its "
        "package must be installed. Repeat the flag for several. TensorBoard is always written.",
        (),
        metavar="wandb|mlflow|trackio",
    )
    track_project: Annotated[str, Field(min_length=1)] = setting(
        "may change",
        "The project of --track; of MLflow the experiment.",
        "unbroken-tts",
        metavar="NAME",
    )
