"""The callback by which a trainer tells a protected fit what happens."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback

from unbroken.integrations.lightning.session import ProtectedFit


class Protection(Callback):  # type: ignore[misc]  # its types are not read
    """Hears from the trainer when the fit is set up, begins, trains and ends.

    It stands before all others: what others do when training ends acts on a state that is saved.

    Args:
        fit: What it tells.
    """

    def __init__(self, fit: ProtectedFit) -> None:
        self._fit = fit

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Prepare the fit."""
        del trainer, pl_module
        if stage == "fit":
            self._fit.prepare()

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the fit."""
        del trainer, pl_module
        self._fit.begin()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Note that there is something to train."""
        del trainer, pl_module
        self._fit.is_training = True

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss."""
        del trainer, pl_module, batch, batch_idx
        self._fit.batch_done(outputs)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Save what was trained, before other callbacks act on it."""
        del trainer, pl_module
        self._fit.training_ends()
