"""Small Lightning programs of every kind, run, cut off anywhere, and run again."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from support.lightning_kinds import KINDS, Steady
from unbroken.integrations.lightning import protect


def made(
    kind: str,
    directory: Path,
    cut: tuple[str, int, Any] | None = None,
    *,
    rate: float = 1e-2,
    seed: int = 7,
    is_protected: bool = True,
    callbacks: Sequence[Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **trainer: Any,
) -> tuple[Any, Any]:
    """Return the trainer and the module of a program."""
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel("ERROR")
    lightning.seed_everything(seed, verbose=False)
    chosen = KINDS[kind]
    others = chosen.callbacks() if callbacks is None else callbacks
    module = chosen.module(rate, cut)
    saving = ModelCheckpoint(
        dirpath=directory / "files", monitor="val_loss", save_top_k=2, save_last=True
    )
    found = lightning.Trainer(
        default_root_dir=directory, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[saving, *others], plugins=chosen.plugins(),
        **{**chosen.trainer, **trainer},
    )  # fmt: skip
    if is_protected:
        protect(found, **{"save_every": 4, **(settings or {})})
    return found, module


def fit(
    kind: str,
    directory: Path,
    cut: tuple[str, int, Any] | None = None,
    *,
    train: Any = None,
    **given: Any,
) -> Any:
    """Run a program; return all that it came to."""
    trainer, module = made(kind, directory, cut, **given)
    found = KINDS[kind].loaders()
    trainer.fit(module, **(found if train is None else {**found, "train_dataloaders": train}))
    return outcome(trainer, module, directory)


def outcome(trainer: Any, module: Any, directory: Path) -> dict[str, Any]:
    """Return all that a fit came to."""
    callbacks = [each for each in trainer.callbacks if type(each).__name__ != "Protection"]
    root = str(directory)
    return {
        "weights": dict(module.state_dict()),
        "moments": [each.state_dict() for each in trainer.optimizers],
        "schedules": [each.scheduler.state_dict() for each in trainer.lr_scheduler_configs],
        "precision": trainer.precision_plugin.state_dict(),
        "metrics": dict(trainer.callback_metrics),
        "callbacks": [_moved(each.state_dict(), root) for each in callbacks],
        "sums": [each.total for each in callbacks if isinstance(each, Steady)],
        "counters": _without_places(trainer.fit_loop.state_dict()),
        "step": trainer.global_step,
        "files": sorted(each.name for each in (directory / "files").iterdir()),
    }


def _moved(state: Any, root: str) -> Any:
    """Return a callback's state with its paths as if the program had another directory."""
    if isinstance(state, dict):
        return {_moved(key, root): _moved(each, root) for key, each in state.items()}
    return str(state).replace(root, "") if isinstance(state, str | Path) else state


def _without_places(state: dict[str, Any]) -> dict[str, Any]:
    """Leave out what Lightning counts of a validation before the first step."""
    return {key: each for key, each in state.items() if "val_loop" not in key}


def child(kind: str, directory: Path, cut: Any, result: Path | None, options: Any) -> None:
    """Run a program as a process of its own; write what it came to."""
    log = logging.getLogger("unbroken")
    log.addHandler(logging.FileHandler(directory.with_suffix(".log")))
    log.setLevel("INFO")
    found = fit(kind, directory, cut, **options)
    if result is not None:
        torch.save(found, result)


SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)
