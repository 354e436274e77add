"""What a Lightning program logged in an epoch that isn't over: saved, and put back as it was.

Lightning keeps the sums behind `self.log(..., on_epoch=True)` in memory alone. Early stopping, a schedule
that waits for a score and the choice of the best checkpoint may all depend on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from lightning.pytorch.trainer.connectors.logger_connector.result import (
    _Metadata,
    _ResultMetric,
    _Sync,
)
from torchmetrics import Metric

_OF_META: Final = (
    "fx",
    "name",
    "prog_bar",
    "logger",
    "on_step",
    "on_epoch",
    "enable_graph",
    "add_dataloader_idx",
    "dataloader_idx",
    "metric_attribute",
)
"""What `self.log` was called with, as far as it is plain."""
_OF_METRIC: Final = ("_forward_cache", "_computed", "_update_count")
"""What a metric keeps beside its state."""
_CONNECTOR: Final = (
    "_callback_metrics",
    "_logged_metrics",
    "_progress_bar_metrics",
    "_current_fx",
    "_first_loop_iter",
)


def results_of(trainer: Any) -> dict[str, Any]:
    """Return what was logged in the training epoch so far, by key; the tensors are the live ones."""
    return {key: _captured(each) for key, each in trainer.fit_loop.epoch_loop._results.items()}  # noqa: SLF001  # in the table


def put_results(trainer: Any, saved: Mapping[str, Any]) -> None:
    """Put back what was logged."""
    results = trainer.fit_loop.epoch_loop._results  # noqa: SLF001  # likewise
    results.clear()
    for key, each in saved.items():
        results[key] = _metric(trainer, each)


def logged_of(trainer: Any) -> dict[str, Any]:
    """Return the values that callbacks and schedules read."""
    connector = trainer._logger_connector  # noqa: SLF001  # likewise
    found = {name: getattr(connector, name) for name in _CONNECTOR}
    return {name: dict(each) if isinstance(each, dict) else each for name, each in found.items()}


def put_logged(trainer: Any, saved: Mapping[str, Any]) -> None:
    """Put them back."""
    for name in _CONNECTOR:
        value = saved[name]
        setattr(trainer._logger_connector, name, dict(value) if isinstance(value, dict) else value)  # noqa: SLF001  # likewise


def all_metrics(module: torch.nn.Module) -> list[Any]:
    """Return the metrics inside a module."""
    return [each for each in module.modules() if isinstance(each, Metric)]


def metrics_of(module: torch.nn.Module) -> dict[str, Any]:
    """Return the state of the metrics inside a module, by name: no `state_dict()` has it."""
    return {
        name: {
            "state": {each: _copied(getattr(metric, each)) for each in metric._defaults},  # noqa: SLF001  # likewise
            **{each: getattr(metric, each, None) for each in _OF_METRIC},
        }
        for name, metric in module.named_modules()
        if isinstance(metric, Metric)
    }


def put_metrics(module: torch.nn.Module, saved: Mapping[str, Any]) -> None:
    """Put the state of the metrics back."""
    for name, metric in module.named_modules():
        if isinstance(metric, Metric):
            for each, value in saved[name]["state"].items():
                setattr(metric, each, _copied(value))
            for each in _OF_METRIC:
                setattr(metric, each, saved[name][each])


def _captured(metric: Any) -> dict[str, Any]:
    meta = metric.meta
    captured: dict[str, Any] = {
        "meta": {name: getattr(meta, name) for name in _OF_META},
        "reduce_fx": meta.reduce_fx.__name__,
        "sync": [meta.sync.should, meta.sync.rank_zero_only],
        "is_tensor": metric.is_tensor,
        "has_reset": metric.has_reset,
        **{name: getattr(metric, name, None) for name in _OF_METRIC},
    }
    if metric.is_tensor:
        captured["state"] = {name: getattr(metric, name) for name in metric._defaults}  # noqa: SLF001  # likewise
    return captured


def _metric(trainer: Any, saved: Mapping[str, Any]) -> Any:
    meta = _Metadata(reduce_fx=getattr(torch, saved["reduce_fx"]), **saved["meta"])
    should, rank_zero_only = saved["sync"]
    meta.sync = _Sync(
        _should=should, fn=trainer.strategy.reduce, _group=None, rank_zero_only=rank_zero_only
    )
    metric = _ResultMetric(meta, saved["is_tensor"])
    metric.has_reset = saved["has_reset"]
    if saved["is_tensor"]:
        for name, value in saved["state"].items():
            setattr(metric, name, value)
    elif saved["meta"]["metric_attribute"] is not None:
        metric.value = trainer.lightning_module.get_submodule(saved["meta"]["metric_attribute"])
    for name in _OF_METRIC:
        setattr(metric, name, saved[name])
    return metric


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value
