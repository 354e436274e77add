"""What the trainer itself counts and remembers, as a part of the run.

Its `TrainerState` (log, best score), its control flags, the states of its callbacks, and the sums of
its loop. What a start takes from its own arguments, such as the intervals of logs, is left alone.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from unbroken.integrations.transformers import of_trl
from unbroken.integrations.transformers.needed_names import SUMS

OF_THE_START: Final = frozenset(
    {"max_steps", "logging_steps", "eval_steps", "save_steps", "train_batch_size", "num_train_epochs",
     "is_local_process_zero", "is_world_process_zero", "is_hyper_param_search", "trial_name",
     "trial_params", "stateful_callbacks"}
)  # fmt: skip
"""Fields of `TrainerState` that each start sets itself."""
OF_TRL: Final = "of_trl"
"""Beside the loop's sums: what a trainer of TRL keeps."""
BEST: Final = "best_model_checkpoint"
"""The field that names a folder in the output directory."""

_log = logging.getLogger("unbroken")


class TrainerProgress:
    """State of a trainer beside model, optimizer and schedule.

    Args:
        trainer: A `transformers.Trainer`.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._sums: dict[str, Any] | None = None
        self.has_ended = False
        """Whether a callback has ended the training before its last step."""
        self.seconds = 0.0
        """Seconds of training, in all starts, until the last step."""

    def state_dict(self) -> dict[str, Any]:
        """Return all of it."""
        trainer = self._trainer
        state = {
            each.name: _plain(getattr(trainer.state, each.name))
            for each in dataclasses.fields(trainer.state)
            if each.name not in OF_THE_START
        }
        if state.get(BEST):
            state[BEST] = Path(state[BEST]).name
        return {
            "state": state,
            "control": _plain(dataclasses.asdict(trainer.control)),
            "callbacks": {name: read(each) for name, each, read, _ in self._callbacks()},
            "sums": self._sums if self._sums is not None else self._live_sums(),
            "has_ended": self.has_ended,
            "seconds": self.seconds,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Put it into the trainer; the loop's sums wait for `put_back_sums`."""
        trainer = self._trainer
        for name, value in saved["state"].items():
            setattr(trainer.state, name, value)
        if best := saved["state"].get(BEST):
            trainer.state.best_model_checkpoint = str(Path(trainer.args.output_dir) / best)
        for name, value in saved["control"].items():
            setattr(trainer.control, name, value)
        callbacks = saved["callbacks"]
        for name, each, _, write in self._callbacks():
            if name in callbacks:
                write(each, callbacks[name])
        self._sums = dict(saved["sums"])
        self.has_ended, self.seconds = saved["has_ended"], saved["seconds"]

    def put_back_sums(self) -> None:
        """Let the loop's own sums go on where they stood; it has set them to nothing since."""
        trainer, sums = self._trainer, self._sums
        if sums is None:
            return
        self._sums = None
        for name, attribute in SUMS.items():
            value = sums[name]
            is_tensor = isinstance(value, torch.Tensor)
            setattr(trainer, attribute, value.to(trainer.args.device) if is_tensor else value)
        of_trl.put_back(trainer, sums.get(OF_TRL, {}))
        trainer._initial_global_step = 0  # noqa: SLF001  # versions that have it count the mean loss from here

    def _live_sums(self) -> dict[str, Any]:
        found = {name: getattr(self._trainer, each, 0) for name, each in SUMS.items()}
        tensors = {k: each for k, each in found.items() if isinstance(each, torch.Tensor)}
        plain = {**found, **{name: each.detach().clone().cpu() for name, each in tensors.items()}}
        more = of_trl.kept_by(self._trainer)
        return {**plain, OF_TRL: _plain(more)} if more else plain

    def _callbacks(self) -> Iterator[tuple[str, Any, Any, Any]]:
        """Yield the callbacks that say their state, by name, with how it is read and put in."""
        seen: dict[str, int] = {}
        for each in self._trainer.callback_handler.callbacks:
            kind = type(each).__name__
            number = seen[kind] = seen.get(kind, -1) + 1
            name = f"{kind}.{number}"
            if hasattr(each, "state_dict") and hasattr(each, "load_state_dict"):
                yield (
                    name,
                    each,
                    lambda one: one.state_dict(),
                    lambda one, s: one.load_state_dict(s),
                )
            elif is_exportable(each):
                yield name, each, _exported, _take_exported


def is_exportable(callback: Any) -> bool:
    """Say whether a callback says its state as `transformers` asks for it."""
    return any(each.__name__ == "ExportableState" for each in type(callback).__mro__)


class SilentCallbacks:
    """Tells of callbacks that keep something while training and say no state, once.

    Args:
        trainer: A `transformers.Trainer`.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._before: dict[int, dict[str, Any]] | None = None

    def begin(self) -> None:
        """Look at what they keep before the first step of this start."""
        self._before = {id(each): _kept(each) for each in self._silent()}

    def tell(self) -> None:
        """Log what has changed since."""
        before, self._before = self._before, None
        if before is None:
            return
        for each in self._silent():
            then, now = before.get(id(each), {}), _kept(each)
            if changed := [name for name in now if now[name] != then.get(name, now[name])]:
                _log.warning(
                    "%s changes %s while training, and is in no checkpoint: the next start begins with "
                    "it as the program builds it. Where that decides a step, derive the class from "
                    "transformers' ExportableState, or give it state_dict() and load_state_dict().",
                    type(each).__name__,
                    ", ".join(changed[:3]),
                )

    def _silent(self) -> Iterator[Any]:
        for each in self._trainer.callback_handler.callbacks:
            is_known = type(each).__module__.startswith(("transformers.", "unbroken."))
            if not is_known and not hasattr(each, "state_dict") and not is_exportable(each):
                yield each


def _kept(callback: Any) -> dict[str, Any]:
    """Return the plain values that a callback keeps, and how long its lists and dicts are."""
    own = vars(callback).items()
    plain = {name: each for name, each in own if isinstance(each, bool | int | float | str)}
    return plain | {name: len(each) for name, each in own if isinstance(each, list | dict | set)}


def _exported(callback: Any) -> Any:
    return _plain(callback.state()["attributes"])


def _take_exported(callback: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        setattr(callback, name, value)


def _plain(value: Any) -> Any:
    """Return numbers of numpy as Python's, inside dicts and lists too."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
