"""Everything of Lightning that isn't public and that this adapter needs: one table, looked up at each start.

Lightning's public interface has no place where a resume could be exact: its loops, what it logged in an
epoch, and where it takes its batches from are private. A version that lacks one of these names is refused
before anything is written, by that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from unbroken.errors import SettingsInvalid

TESTED: Final = ("2.5.0", "2.6.6")
"""The oldest and the newest version that the tests were run with."""
OLDEST: Final = (2, 5)
"""Oldest minor version that is supported."""
MAJOR: Final = 2
"""The only major version that is supported."""

OF_TRAINER: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("_checkpoint_connector", "_logger_connector"),
    "fit_loop": (
        "_data_fetcher",
        "_data_source",
        "done",
        "load_state_dict",
        "on_iteration_done",
        "on_run_end",
        "run",
        "setup_data",
        "state_dict",
    ),
    "fit_loop._data_source": ("dataloader",),
    "fit_loop.epoch_loop": ("_results", "batch_progress", "val_loop"),
    "fit_loop.epoch_loop.val_loop": ("_data_source", "run"),
    "_checkpoint_connector": ("_loaded_checkpoint",),
    "_logger_connector": (
        "_callback_metrics",
        "_current_fx",
        "_first_loop_iter",
        "_logged_metrics",
        "_progress_bar_metrics",
    ),
}
"""Attributes of a trainer, and of what it holds, by the path from it."""

OF_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "lightning.pytorch.loops": ("_Loop",),
    "lightning.pytorch.trainer.connectors.logger_connector.result": (
        "_Metadata",
        "_ResultMetric",
        "_Sync",
    ),
    "lightning.pytorch.utilities._pytree": ("tree_unflatten",),
    "lightning.pytorch.utilities.model_helpers": ("is_overridden",),
}
"""What is imported, by module."""

OF_OBJECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "lightning.pytorch.utilities.combined_loader.CombinedLoader([])": ("_mode", "_spec"),
    "lightning.pytorch.callbacks.ModelCheckpoint()": (
        "_last_checkpoint_saved",
        "_last_global_step_saved",
    ),
    "torchmetrics.MeanMetric()": ("_computed", "_defaults", "_forward_cache", "_update_count"),
}
"""Attributes of new objects, by the class and what it is called with."""

OF_CALLBACKS: Final = "_average_model"
"""The averaged model of a `WeightAveraging` callback, where there is one; version 2.5 has none."""


def require_supported(trainer: Any) -> None:
    """Refuse what is no trainer of Lightning, a version that isn't supported, and one without a name.

    Raises:
        SettingsInvalid: The trainer can't be protected.
    """
    lightning = _imported("lightning.pytorch")
    if lightning is None:
        raise SettingsInvalid(
            "Lightning can't be imported.",
            "protect() acts on a Trainer of it, and nothing else.",
            'Install it with `pip install "unbroken[lightning]"`.',
        )
    if not isinstance(trainer, lightning.Trainer):
        kind = type(trainer)
        raise SettingsInvalid(
            f"protect() was given a {kind.__module__}.{kind.__qualname__}.",
            "It acts on the trainer's own loops, and knows those of lightning.pytorch.Trainer.",
            "Give it a Trainer of `import lightning.pytorch`, not of the older package "
            "`pytorch_lightning`.",
        )
    version: str = lightning.__version__
    major, minor = (int(each) for each in version.split(".")[:2])
    if major != MAJOR or (major, minor) < OLDEST:
        raise SettingsInvalid(
            f"This is Lightning {version}; from {'.'.join(map(str, OLDEST))} on, below {MAJOR + 1}, "
            "is supported.",
            "What a resume needs of it is not public, and differs between versions.",
            f"Install a version that was tested: {' or '.join(TESTED)}.",
        )
    if missing := missing_names(trainer):
        raise SettingsInvalid(
            f"Lightning {version} has no {', '.join(missing)}.",
            "Without it a fit could be protected in part only, and a resume not be exact.",
            f"Install a version that was tested: {' or '.join(TESTED)}.",
        )


def _has(owner: Any, name: str) -> bool:
    """Say whether there is such an attribute, without asking a property: `fit_loop.done` may raise."""
    return hasattr(type(owner), name) or hasattr(owner, name)


def missing_names(trainer: Any) -> list[str]:
    """Return the names of the table that this version lacks."""
    missing: list[str] = []
    for path, names in OF_TRAINER.items():
        owner, where = trainer, "trainer"
        for step in path.split(".") if path else ():
            owner, where = getattr(owner, step, None), f"{where}.{step}"
        missing += [f"{where}.{name}" for name in names if not _has(owner, name)]
    for module, names in OF_MODULES.items():
        found = _imported(module)
        missing += [f"{module}.{name}" for name in names if not hasattr(found, name)]
    for call, names in OF_OBJECTS.items():
        made = _made(call)
        missing += [f"{call}.{name}" for name in names if not hasattr(made, name)]
    return missing


def _imported(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        return None


def _made(call: str) -> Any:
    """Return a new object of a class, from its path and one list or nothing."""
    path, _, given = call.partition("(")
    module, _, name = path.rpartition(".")
    kind = getattr(_imported(module), name, None)
    if kind is None:
        return None
    return kind([]) if given == "[])" else kind()
