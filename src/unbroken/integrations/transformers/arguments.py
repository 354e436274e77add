"""Which training arguments decide the training: all but those in one table, which may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

MAY_CHANGE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("output_dir", "run_name", "project", "trackio_space_id", "trackio_bucket_id",
         "trackio_static_space_id", "resume_from_checkpoint"),
        "a place or a name",
    ),
    **dict.fromkeys(
        ("logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node",
         "log_level", "log_level_replica", "disable_tqdm", "report_to", "include_num_input_tokens_seen",
         "skip_memory_metrics"),
        "only shows the training",
    ),
    **dict.fromkeys(
        ("save_only_model", "save_strategy", "save_steps", "save_on_each_node", "save_total_limit",
         "enable_jit_checkpoint", "restore_callback_states_from_checkpoint"),
        "only keeps it",
    ),
    **dict.fromkeys(
        ("hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push",
         "hub_revision", "push_to_hub"),
        "only publishes it",
    ),
    **dict.fromkeys(
        ("dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers",
         "dataloader_prefetch_factor", "dataloader_multiprocessing_context", "dataloader_in_order",
         "torch_empty_cache_steps"),
        "each sample draws from seeds of its own, whoever reads it",
    ),
    **dict.fromkeys(
        ("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers",
         "ddp_static_graph", "ddp_backend", "ddp_timeout", "local_rank", "ignore_data_skip"),
        "has no effect in one process that is protected",
    ),
    **dict.fromkeys(("do_train", "do_eval", "do_predict"), "is read by the program alone"),
}  # fmt: skip
"""Why each argument that may change at a resume doesn't decide the training."""


def settings_of(args: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the training arguments that must be the same at a resume, and those that may change.

    Args:
        args: The `TrainingArguments`, or those of a derived class, with its own.
    """
    named = {each.name: plain(getattr(args, each.name, None)) for each in dataclasses.fields(args)}
    named.pop("hub_token", None)  # a secret is nobody's fact
    must = {name: each for name, each in named.items() if name not in MAY_CHANGE}
    return must, {name: each for name, each in named.items() if name in MAY_CHANGE}


def plain(value: Any) -> Any:
    """Return a value in a form that can be written down and compared."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = dataclasses.fields(value)
        return {each.name: plain(getattr(value, each.name)) for each in named}
    if isinstance(value, type) or hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    says_itself = "__repr__" in {name for kind in type(value).__mro__[:-1] for name in vars(kind)}
    return repr(value) if says_itself else type(value).__qualname__
