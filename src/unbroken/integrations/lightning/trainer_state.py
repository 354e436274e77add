"""What a Lightning trainer keeps beside weights and moments: counters, logged values, callbacks.

Two parts of the run. Both remember what was restored, for Lightning's own beginning counts again what
the checkpoint has counted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, Timer
from lightning.pytorch.loops import _Loop
from lightning.pytorch.utilities.model_helpers import is_overridden

from unbroken.integrations.lightning.results import (
    all_metrics,
    logged_of,
    metrics_of,
    put_logged,
    put_metrics,
    put_results,
    results_of,
)

BESIDE: Final[Mapping[type, tuple[str, ...]]] = {
    ModelCheckpoint: ("current_score", "_last_global_step_saved", "_last_checkpoint_saved"),
}
"""What a callback needs and its `load_state_dict()` doesn't take in."""


_NUMBER: Final = "number of 0 dimensions"
"""Tags a tensor that isn't finite: a best score is so at first, which is no sign of a bad training."""


def packed(value: Any) -> Any:
    """Return nested state whose infinite tensors of one number are plain numbers."""
    if isinstance(value, torch.Tensor) and value.dim() == 0 and not value.isfinite():
        kind = str(value.dtype).removeprefix("torch.")
        return {_NUMBER: value.item(), "dtype": kind, "device": str(value.device)}
    if type(value) is dict:
        return {key: packed(each) for key, each in value.items()}
    return [packed(each) for each in value] if type(value) is list else value


def unpacked(value: Any) -> Any:
    """Return what was packed, in tensors and containers of its own."""
    if type(value) is dict and _NUMBER in value:
        dtype = getattr(torch, value["dtype"])
        return torch.tensor(value[_NUMBER], dtype=dtype, device=value["device"])
    if type(value) is dict:
        return {key: unpacked(each) for key, each in value.items()}
    if type(value) is list:
        return [unpacked(each) for each in value]
    return copy.deepcopy(value)


class LoopState:
    """Where Lightning's loops stand, and what was logged in the epoch so far.

    Args:
        trainer: Returns the trainer; a function, for what hangs on a trainer is no state of this part.
    """

    def __init__(self, trainer: Callable[[], Any]) -> None:
        self._trainer = trainer
        self._restored: dict[str, Any] | None = None
        self.is_in_epoch = False
        """Whether the beginning of an epoch ran before the state was saved."""

    @property
    def saved_objects(self) -> list[Any]:
        """The metrics of the module."""
        return all_metrics(self._trainer().lightning_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        trainer = self._trainer()
        state = {
            "loops": trainer.fit_loop.state_dict(),
            "is_in_epoch": self.is_in_epoch,
            "should_stop": trainer.should_stop,
            "results": results_of(trainer),
            "logged": logged_of(trainer),
            "metrics": metrics_of(trainer.lightning_module),
            "data_module": _of_data_module(trainer),
        }
        return {key: packed(each) for key, each in state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state in, and remember it."""
        self._restored = state
        self.is_in_epoch = state["is_in_epoch"]
        self.put_back()

    def forget(self) -> None:
        """Remember no more what was restored."""
        self._restored = None

    def put_back(self) -> None:
        """Put what was restored into the trainer once more."""
        state, trainer = unpacked(self._restored), self._trainer()
        if state is None:
            return
        trainer.fit_loop.load_state_dict(state["loops"])
        _forget_restart(trainer.fit_loop)
        trainer.should_stop = state["should_stop"]
        put_results(trainer, state["results"])
        put_metrics(trainer.lightning_module, state["metrics"])
        put_logged(trainer, state["logged"])
        if state["data_module"]:
            trainer.datamodule.load_state_dict(state["data_module"])


class CallbackState:
    """What callbacks, and the module's own hooks, add to a checkpoint.

    Args:
        trainer: Returns the trainer.
        module: Returns the module.
    """

    def __init__(self, trainer: Callable[[], Any], module: Callable[[], Any]) -> None:
        self._trainer = trainer
        self._module = module
        self._restored: dict[str, Any] | None = None

    @property
    def looked_at(self) -> list[Any]:
        """The callbacks: what they keep and don't save is told."""
        return self._callbacks()

    @property
    def saved_for(self) -> dict[str, Any]:
        """What the module's own hook saves of it."""
        added = self._added()
        return {"model": added} if added else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each callback that has one, and what hooks add."""
        found = {each.state_key: packed(_of_callback(each)) for each in self._callbacks()}
        added = self._added()
        return {
            **{key: each for key, each in found.items() if each},
            **({"hooks": packed(added)} if added else {}),
        }

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """Say where files of a checkpoint callback lie elsewhere now."""
        return [
            f"{each.state_key}: its dirpath is {each.dirpath!r}, was {saved[each.state_key]['dirpath']!r}"
            for each in self._callbacks()
            if isinstance(each, ModelCheckpoint)
            and saved.get(each.state_key, {}).get("dirpath", each.dirpath) != each.dirpath
        ]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state in, and remember it."""
        self._restored = state
        self.put_back()

    def forget(self) -> None:
        """Remember no more what was restored."""
        self._restored = None

    def put_back(self) -> None:
        """Put what was restored into the callbacks once more."""
        state = unpacked(self._restored)
        if state is None:
            return
        for each in self._callbacks():
            if each.state_key in state:
                _put_callback(each, state[each.state_key])
        if "hooks" in state:
            self._put_added(state["hooks"])

    def _callbacks(self) -> list[Any]:
        return [each for each in self._trainer().callbacks if not isinstance(each, Timer)]

    def _hooked(self, hook: str) -> list[Any]:
        return [
            each
            for each in self._callbacks()
            if is_overridden(hook, each, parent=Callback) and not _is_averaging(each)
        ]

    def _base(self) -> dict[str, Any]:
        trainer, module = self._trainer(), self._module()
        return {
            "epoch": trainer.current_epoch,
            "global_step": trainer.global_step,
            "state_dict": module.state_dict(),
            "callbacks": {},
            "optimizer_states": [],
            "lr_schedulers": [],
        }

    def _added(self) -> dict[str, Any]:
        """Return what hooks put into a checkpoint of Lightning's."""
        trainer, module = self._trainer(), self._module()
        base = self._base()
        filled = dict(base)
        for each in self._hooked("on_save_checkpoint"):
            each.on_save_checkpoint(trainer, module, filled)
        if is_overridden("on_save_checkpoint", module):
            module.on_save_checkpoint(filled)
        return {key: each for key, each in filled.items() if key not in base}

    def _put_added(self, added: Mapping[str, Any]) -> None:
        trainer, module = self._trainer(), self._module()
        filled = {**self._base(), **added}
        for each in self._hooked("on_load_checkpoint"):
            each.on_load_checkpoint(trainer, module, filled)
        if is_overridden("on_load_checkpoint", module):
            module.on_load_checkpoint(filled)


def _forget_restart(loop: Any) -> None:
    """Have a loop, and those in it, go on as if nothing had been loaded.

    Lightning's own way to restart leaves out, or makes twice, what belongs to the place of the stop.
    """
    loop.on_iteration_done()
    for each in vars(loop).values():
        if isinstance(each, _Loop):
            _forget_restart(each)


def _beside(callback: Any) -> tuple[str, ...]:
    return next((names for kind, names in BESIDE.items() if isinstance(callback, kind)), ())


def _of_callback(callback: Any) -> dict[str, Any]:
    state = dict(callback.state_dict())
    return state | {name: getattr(callback, name, None) for name in _beside(callback)}


def _put_callback(callback: Any, state: dict[str, Any]) -> None:
    beside = {name: state.pop(name) for name in _beside(callback) if name in state}
    callback.load_state_dict({**state, **beside})
    for name, value in beside.items():
        setattr(callback, name, value)


def _is_averaging(callback: Any) -> bool:
    return hasattr(callback, "_average_model")


def averages_of(trainer: Any) -> dict[str, Any]:
    """Return the averaged models of callbacks, by part name: their weights are parts like others."""
    found = [
        each._average_model  # noqa: SLF001  # in the table of private names
        for each in trainer.callbacks
        if getattr(each, "_average_model", None) is not None
    ]
    return {f"average_model{i or ''}": each for i, each in enumerate(found)}


def _of_data_module(trainer: Any) -> dict[str, Any]:
    if trainer.datamodule is None:
        return {}
    state: dict[str, Any] = trainer.datamodule.state_dict()
    return state
