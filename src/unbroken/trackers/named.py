"""The trackers that are ready, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from unbroken.errors import SettingsInvalid
from unbroken.trackers.mlflow_run import MLflow
from unbroken.trackers.tensorboard_events import TensorBoard
from unbroken.trackers.tracker import Tracker
from unbroken.trackers.trackio_run import Trackio
from unbroken.trackers.wandb_run import Wandb

READY: Final = ("tensorboard", "wandb", "mlflow", "trackio")
"""Names that `tracker` takes."""


def tracker(
    kind: str,
    *,
    project: str = "unbroken",
    name: str | Callable[[str], str] | None = None,
    **options: Any,
) -> Tracker:
    """Return a tracker for `Run(trackers=[...])`; its package is imported here.

    Args:
        kind: `tensorboard`, `wandb`, `mlflow` or `trackio`.
        project: The project; of MLflow the experiment. TensorBoard has none.
        name: What the run is called there, or what makes that of its id; it has to be the same at each
            start. None for the id. TensorBoard goes by the id.
        options: `tensorboard`: `directory`, `"runs"` without it. `wandb` and `trackio`: further
            arguments of their `init`, such as `config`. `mlflow`: `tracking_uri`.

    Raises:
        SettingsInvalid: There is no such tracker or option, or its package is not installed.
    """
    if kind not in READY:
        raise SettingsInvalid(
            f"There is no tracker {kind!r}.",
            "Nothing could be shown by it.",
            f"Name one of {', '.join(READY)}, or give Run(trackers=) one of your own.",
        )
    try:
        if kind == "tensorboard":
            return TensorBoard(**options)
        if kind == "mlflow":
            return MLflow(project, name, **options)
        return (Wandb if kind == "wandb" else Trackio)(project, name, **options)
    except TypeError as error:
        raise SettingsInvalid(
            f"tracker({kind!r}) was given {', '.join(sorted(options))}: {error}.",
            "An option that isn't known would be left out without a word.",
            "See docs/api.md for the options of each.",
        ) from error
