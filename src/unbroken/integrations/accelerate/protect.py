"""Make a run of what an `Accelerator` has prepared."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final

from unbroken.errors import NotEncodable, RunMisused, SettingsInvalid
from unbroken.integrations.accelerate import folders
from unbroken.integrations.accelerate.state import AcceleratorState
from unbroken.run.run import Run

TESTED: Final = ("1.15",)
"""Versions of accelerate that the tests run with."""
NEEDED: Final = {
    "_models": "what was prepared: the models",
    "_optimizers": "what was prepared: the optimisers",
    "_schedulers": "what was prepared: the schedules",
    "_custom_objects": "what was registered by register_for_checkpointing()",
    "gradient_state": "whether the present batch ends a cycle of accumulation",
    "step": "the counter of accumulation",
}
"""What the adapter needs of an `Accelerator`, beside its documented methods, and for what."""

REPLICATED: Final = {"MULTI_CPU", "MULTI_GPU"}
"""Kinds of several processes of Accelerate that keep a model alike on each."""
_PROTECTED: Final = "_unbroken_run"
"""Attribute under which an accelerator keeps its run."""


def protect(accelerator: Any, directory: Path | str, *, data: Any = None, **options: Any) -> Run:
    """Return a run of all that an accelerator has prepared and registered.

    Call it after `accelerator.prepare(...)`, and loop over `run.epochs()` and `run.batches()` as
    in a plain loop. `accelerator.save_state()` and `load_state()` go on working; what is saved is
    flushed to the disk, and a folder that is not whole is not loaded.

    Args:
        accelerator: Of Hugging Face Accelerate.
        directory: Where everything of the run lies.
        data: The prepared loader that is trained on; None for a loop over `run.iterations()`.
        options: Further arguments of `unbroken.Run`, and parts by name.

    Raises:
        RunMisused: It was protected already, or its version lacks something that is needed.
        SettingsInvalid: It shards the model, or nothing was prepared.
        NotEncodable: Something that it has prepared can't be saved.
    """
    _require_fit(accelerator)
    run = Run(directory, data=data, **_prepared(accelerator), **_facts(accelerator, options))
    setattr(accelerator, _PROTECTED, run)
    _keep_folders_whole(accelerator)
    return run


def _require_fit(accelerator: Any) -> None:
    missing = [name for name in NEEDED if not hasattr(accelerator, name)]
    if missing:
        raise RunMisused(
            f"The {type(accelerator).__name__} has no {', '.join(missing)}.",
            "A part of its state would be lost without a word.",
            f"Use a version of accelerate that is tested ({', '.join(TESTED)}), after prepare().",
        )
    if hasattr(accelerator, _PROTECTED):
        raise RunMisused(
            "protect() was called twice for one Accelerator.",
            "Two runs would count its steps.",
            "Use the run that the first call returned.",
        )
    kind = accelerator.distributed_type.value
    if accelerator.num_processes > 1 and kind not in REPLICATED:
        raise SettingsInvalid(
            f"The Accelerator trains with {accelerator.num_processes} processes of the type {kind}.",
            "A run saves models that are the same on each process (DistributedDataParallel), not sharded ones.",
            "Launch one process, or processes without FSDP, DeepSpeed and the like.",
        )
    if not (_held(accelerator, "_models") and _held(accelerator, "_optimizers")):
        raise SettingsInvalid(
            "The Accelerator has prepared no model, or no optimiser.",
            "There is nothing to save.",
            "Call accelerator.prepare(model, optimizer, ...) before protect().",
        )


def _prepared(accelerator: Any) -> dict[str, Any]:
    """Return what was prepared, in the words of `Run`."""
    return {
        "model": _numbered("model", _held(accelerator, "_models")),
        "optimizer": _numbered("optimizer", _inside(accelerator, "_optimizers", "optimizer")),
        "scheduler": _numbered("scheduler", _inside(accelerator, "_schedulers", "scheduler"))
        or None,
        "scaler": accelerator.scaler,
        "accelerator": AcceleratorState(accelerator),
        **_numbered("registered", _held(accelerator, "_custom_objects")),
    }


def _held(accelerator: Any, name: str) -> list[Any]:
    """Return a list that an accelerator keeps for itself; `NEEDED` has its name."""
    found: list[Any] = getattr(accelerator, name)
    return found


def _inside(accelerator: Any, name: str, wrapped: str) -> list[Any]:
    """Return PyTorch's own objects: what Accelerate wraps around them knows nothing that lasts a step."""
    return [getattr(each, wrapped, each) for each in _held(accelerator, name)]


def _numbered(name: str, objects: list[Any]) -> dict[str, Any]:
    if len(objects) == 1:
        return {name: objects[0]}
    return {f"{name}_{i}": each for i, each in enumerate(objects)}


def _facts(accelerator: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, with what the accelerator decides among the facts."""
    given = dict(options.get("facts") or {})
    if "accelerate" in given:
        raise NotEncodable(
            "facts= has a value named 'accelerate'.",
            "The adapter keeps its own facts under this name.",
            "Choose another name.",
        )
    own = {
        "mixed_precision": accelerator.mixed_precision,
        "gradient_accumulation_steps": accelerator.gradient_accumulation_steps,
    }
    return {**options, "facts": {**given, "accelerate": own}}


def _keep_folders_whole(accelerator: Any) -> None:
    """Have what `save_state` writes flushed, and what `load_state` reads verified."""
    save, load = accelerator.save_state, accelerator.load_state

    @wraps(save)
    def save_state(output_dir: str | None = None, *args: Any, **named: Any) -> Any:
        is_first = accelerator.is_main_process  # the others write into the same folder
        if is_first and output_dir is not None and not _names_itself(accelerator):
            folders.begin(Path(output_dir))
        accelerator.wait_for_everyone()
        written = save(output_dir, *args, **named)
        accelerator.wait_for_everyone()
        if is_first:
            folders.complete(Path(written))
        accelerator.wait_for_everyone()
        return written

    @wraps(load)
    def load_state(input_dir: str | None = None, *args: Any, **named: Any) -> Any:
        if input_dir is None and _names_itself(accelerator):
            found = folders.newest_whole(Path(accelerator.project_dir, "checkpoints"))
            input_dir = None if found is None else str(found)
        if input_dir is not None:
            folders.verify(Path(input_dir))
        return load(input_dir, *args, **named)

    accelerator.save_state, accelerator.load_state = save_state, load_state


def _names_itself(accelerator: Any) -> bool:
    return bool(accelerator.project_configuration.automatic_checkpoint_naming)
