"""What the training is made of, for the comparison at a resume: arguments, model, tokenizer, data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from unbroken.checkpoint import disk
from unbroken.integrations.transformers.arguments import plain, settings_of
from unbroken.integrations.transformers.progress import is_exportable
from unbroken.loaders.content import content_digest
from unbroken.loaders.seeded_samples import SampleKey, seeded
from unbroken.state.digest import bytes_digest
from unbroken.state.mix import mix64
from unbroken.state.randomness import GeneratorStates, seeds_of

SAMPLED: Final = 16
"""Samples of a data set that are read for its fingerprint, evenly spaced."""
OF_THE_VERSION: Final = frozenset(
    {"transformers_version", "_name_or_path", "name_or_path", "use_cache", "dtype", "torch_dtype"}
)
"""Keys of saved configurations that say nothing of the model or the tokenizer."""
OF_THE_LAST_CALL: Final = frozenset({"truncation", "padding"})
"""Keys of `tokenizer.json` that each call of a tokenizer sets anew."""


def facts_of(trainer: Any, scratch: Path) -> dict[str, Any]:
    """Return the facts of a training; those below `free` may change.

    Args:
        trainer: A `transformers.Trainer`.
        scratch: A folder to save the tokenizer into; it is deleted again.
    """
    must, free = settings_of(trainer.args)
    facts: dict[str, Any] = {
        "settings": must,
        "free": free,
        "data": {"train": data_set(trainer.train_dataset)},
        "trainer": {
            "collator": _name(trainer.data_collator),
            "callbacks": _exported_arguments(trainer),
        },
    }
    if (evaluated := trainer.eval_dataset) is not None:
        sets = evaluated if isinstance(evaluated, dict) else {"": evaluated}
        facts["data"]["eval"] = {name or "all": data_set(each) for name, each in sets.items()}
    config: Any = getattr(trainer.model, "config", None)
    if hasattr(config, "to_dict"):
        facts["model"] = _without(plain(config.to_dict()), OF_THE_VERSION)
    if trainer.processing_class is not None:
        facts["tokenizer"] = saved_form(trainer.processing_class, scratch)
    return facts


def saved_form(processor: Any, scratch: Path) -> str:
    """Return a digest of what a tokenizer or processor saves, but for what each call of it sets."""
    disk.remove_tree(scratch)
    disk.make_directory(scratch)
    try:
        processor.save_pretrained(str(scratch))
        found = {}
        for path in sorted(each for each in scratch.rglob("*") if each.is_file()):
            content = path.read_bytes()
            if path.suffix == ".json":
                content = _canonical(content)
            found[path.relative_to(scratch).as_posix()] = bytes_digest(content)
    finally:
        disk.remove_tree(scratch)
    return bytes_digest(json.dumps(found, sort_keys=True).encode())


def data_set(dataset: Any) -> dict[str, Any]:
    """Return the number of samples, and a digest of some; reading them changes no generator.

    What is drawn for them is drawn from seeds that no run has, so that another seed is no other data.
    """
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        return {"kind": type(dataset).__name__}
    count = len(dataset)
    places = (
        sorted({i * (count - 1) // max(SAMPLED - 1, 1) for i in range(SAMPLED)}) if count else []
    )
    before, reader = GeneratorStates.capture(), seeded(dataset)
    try:
        keys = [SampleKey(seeds_of(mix64(SAMPLED, each)), each) for each in places]
        samples = [reader[each] for each in keys]
        digests = [content_digest(each) for each in samples]
        first = places and content_digest(reader[keys[0]])
    finally:
        before.put_back()
    if digests and first != digests[0]:
        return {"samples": count}  # it draws from what no seed sets: nothing can be compared
    return {"samples": count, "digest": bytes_digest("".join(digests).encode())}


def _canonical(content: bytes) -> bytes:
    try:
        document = json.loads(content)
    except ValueError:
        return content
    document = _without(document, OF_THE_VERSION | OF_THE_LAST_CALL)
    return json.dumps(document, sort_keys=True).encode()


def _without(document: Any, names: frozenset[str]) -> Any:
    if not isinstance(document, Mapping):
        return document
    return {key: each for key, each in document.items() if key not in names}


def _exported_arguments(trainer: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in trainer.callback_handler.callbacks:
        if is_exportable(each):
            found[type(each).__name__] = plain(each.state().get("args", {}))
    return found


def _name(value: Any) -> str:
    return getattr(value, "__qualname__", type(value).__qualname__)
