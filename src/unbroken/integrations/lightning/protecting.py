"""`protect`: the one line of a Lightning program that `unbroken` needs."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from unbroken.integrations.lightning.private_names import require_supported
from unbroken.integrations.lightning.refusals import require_protectable, require_settings

_log = logging.getLogger("unbroken")


def protect(
    trainer: Any,
    directory: Path | str | None = None,
    *,
    accept: Collection[str] = (),
    parts: Mapping[str, Any] | None = None,
    **settings: Any,
) -> None:
    """Let the coming `trainer.fit()` be stopped at any moment, and go on exactly at the next start.

    The program stays as it is. Started again, it goes on where it was: `fit` restores weights, moments,
    schedules, callbacks, loops and what was logged, reads the batches that are left, repeats the steps
    that no checkpoint has, and compares them with the journal. A trainer with `fast_dev_run` is left
    alone.

    Args:
        trainer: A `lightning.pytorch.Trainer` that has not run, with one device.
        directory: Where everything of the run lies; None for `unbroken` in `default_root_dir`.
        accept: Ids of checks whose difference is meant; see docs/resuming.md.
        parts: Further objects with `state_dict()` and `load_state_dict()`, or generators, by name.
        settings: What `unbroken.Run` takes beside the objects: `save_every` (batches), `save_minutes`,
            `keep`, `keep_every`, `seed`, `facts`, `may_change`, `checks`, `stop_file`, `stop_signals`,
            `grace_seconds`, `max_lost_minutes`, `on_diverged`, `data_repeats`, `frozen`, `advice`.

    Raises:
        SettingsInvalid: Lightning's version, the trainer, an argument or a part's name isn't supported.
        RunMisused: The trainer is protected already, or has run.
    """
    require_supported(trainer)
    require_settings(settings, dict(parts or {}))
    from unbroken.integrations.lightning.checkpoint_io import DurableCheckpointIO
    from unbroken.integrations.lightning.protection import Protection
    from unbroken.integrations.lightning.session import ProtectedFit

    require_protectable(trainer, any(isinstance(each, Protection) for each in trainer.callbacks))
    if trainer.fast_dev_run:
        _log.info("[Lightning] fast_dev_run: this fit is not protected.")
        return
    place = Path(trainer.default_root_dir) / "unbroken" if directory is None else Path(directory)
    fit = ProtectedFit(trainer, place, tuple(accept), dict(parts or {}), settings)
    trainer.strategy.checkpoint_io = DurableCheckpointIO(trainer.strategy.checkpoint_io, fit.writes)
    trainer.callbacks.insert(0, Protection(fit))
