"""Finds a model's tensors in what other programs save: containers, wrappers, prefixes, adapters.

A state dict is recognised by its content, the text embedding, wherever it lies: programs name their
containers and prefixes as they like (`model`, `state_dict`, `module`, `ema_model`, `gpt_model.`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from unbroken import DataInvalid, SettingsInvalid, counted
from unbroken_tts.model.adapter_config import strength_of
from unbroken_tts.model.lora import Adapter, merged
from unbroken_tts.model.sorted_tensors import shown, sort_out, unusable_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FLAT: Final = "."
"""The name of the entry whose tensors lie in the file itself, without a prefix."""

_DEEPEST = 6
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that DataParallel, torch.compile, FSDP and activation checkpointing add, anywhere."""
_TELLING = re.compile(
    r"^(?P<prefix>(.*\.)?)text_embedding\."
    r"(base_layer\.|original_module\.|modules_to_save\.[^.]+\.)?weight$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormChoice:
    """What a person says about a file that doesn't say it itself."""

    entry: str | None = None
    """Which of several sets of weights to use, by the name that the refusal lists."""
    adapter_alpha: float | None = None
    """Alpha of an unmerged LoRA adapter."""

    def require_file(self, path: Path) -> None:
        """Refuse what was said if it is said of a run, which needs none of it.

        Raises:
            SettingsInvalid: Something was said, and the path is a directory.
        """
        said = "--weights-entry" if self.entry is not None else "--adapter-alpha"
        if path.is_dir() and self != FormChoice():
            raise SettingsInvalid(
                f"{said} was given, but {path} is a directory, not a file of weights.",
                "A run has one set of weights, and no unmerged adapter.",
                f"Omit {said}, or name a file.",
            )


@dataclass(slots=True, kw_only=True)
class Published:
    """The tensors of a model as they lay in a file."""

    entry: str
    """Where: containers and prefix, joined by `/`; `.` for a plain state dict."""
    tensors: dict[str, torch.Tensor]
    """Plain name -> tensor as in the file, without the adapter's."""
    adapter: Adapter | None = None
    """An unmerged adapter."""
    removed: dict[str, int] = field(default_factory=dict)
    """What was cut out of names -> how many names."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Why -> which names of the file were left out."""
    bare: list[str] = field(default_factory=list)
    """Layers that were adapted, but whose adapter is not in the file."""

    def notes(self) -> list[str]:
        """Return a line about each kind of thing that was left out, and what is missing."""
        bare = "layers as they were before they were adapted, for their adapter is not in the file"
        missing = [f"{bare}: {shown(self.bare)}"] if self.bare else []
        return missing + [
            f"left out {counted(len(names), 'entry').replace('entrys', 'entries')}, {why}: "
            f"{shown(names)}"
            for why, names in self.left_out.items()
        ]


def find_published(
    content: Mapping[Any, Any], *, origin: str, entry: str | None = None
) -> Published | None:
    """Find the model's tensors in the content of a file.

    Args:
        content: As read.
        origin: The file, for messages.
        entry: Which one of several to use.

    Returns:
        The tensors under plain names; None if there is no such model.

    Raises:
        DataInvalid: Two names become the same, or an adapter can't be understood.
        SettingsInvalid: There are several models and none is named, or none of the name.
    """
    found: dict[str, _Entry] = {}
    for each in _entries(content, (), set()):
        # A hostile file may give two places one name; then the second has another.
        name = next(
            name
            for count in range(len(found) + 1)
            if (name := each.entry + "+" * count) not in found
        )
        found[name] = each
    if entry is not None:
        if entry not in found:
            has_names = bool(found.keys() - {FLAT})
            sets = f"the sets of weights {shown(sorted(found))}" if has_names else "no named set"
            raise SettingsInvalid(
                f"--weights-entry is {entry}, but {origin} has {sets}.",
                "It names the set of weights to use where a file has several.",
                "Give one of the names listed, or omit the flag if there is only one.",
            )
        found = {entry: found[entry], **found}
    if not found:
        return None
    if entry is None and len(found) > 1 and not _are_same(list(found.values())):
        raise SettingsInvalid(
            f"The weights file {origin} has several sets of weights: {', '.join(sorted(found))}.",
            "They differ, so which one is meant can't be told from the file.",
            f"Choose one, such as --weights-entry {min(found)}.",
        )
    return _unwrapped(content, next(iter(found.values())), list(found.values()), origin)


def merge_adapter(
    published: Published, path: Path, alpha: float | None
) -> tuple[dict[str, torch.Tensor], str]:
    """Return the tensors with the adapter merged, if there is one, and a line that says so.

    Raises:
        DataInvalid: The adapter is incomplete, or doesn't fit.
        SettingsInvalid: Its alpha is unknown.
    """
    adapter = published.adapter
    if adapter is None:
        return published.tensors, ""
    parts = {
        f"{layer} (LoRA {part})": tensor
        for layer, found in adapter.layers.items()
        for part, tensor in found.items()
    }
    for why, names in unusable_tensors({**published.tensors, **parts}).items():
        raise DataInvalid(
            f"The weights file {path} has {why} instead of floating-point tensors: {shown(names)}.",
            "An adapter can only be merged into the weights that it was trained with.",
            "Merge it in the program that made it (peft: `merge_and_unload()`), and save the whole "
            "model's state_dict.",
        )
    strength = strength_of(path, alpha)
    tensors = merged(published.tensors, adapter, strength, origin=str(path))
    return tensors, f"merged the {adapter}, {strength}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A place in a file where a model's tensors were seen."""

    containers: tuple[str, ...]
    prefix: str
    values: Mapping[Any, Any]

    @property
    def entry(self) -> str:
        return "/".join((*self.containers, *filter(None, [self.prefix.rstrip(".")]))) or FLAT


def _entries(
    values: Mapping[Any, Any], containers: tuple[str, ...], seen: set[int]
) -> Iterator[_Entry]:
    """Yield every place where a text embedding lies.

    A dict is looked at once: a hostile file may contain itself, or one dict a million times.
    """
    seen.add(id(values))
    prefixes = dict.fromkeys(
        found["prefix"]
        for name, value in values.items()
        if isinstance(name, str)
        and isinstance(value, torch.Tensor)
        and (found := _TELLING.match(_plain_name(name)))
    )
    for prefix in prefixes:
        yield _Entry(containers, prefix, values)
    if len(containers) == _DEEPEST:
        return
    for name, value in values.items():
        if isinstance(name, str) and isinstance(value, dict) and id(value) not in seen:
            yield from _entries(value, (*containers, name), seen)


def _are_same(entries: list[_Entry]) -> bool:
    """Return whether entries are the very same tensors under two names."""
    places = [
        {
            name.removeprefix(each.prefix): value.data_ptr()
            for name, value in _named(each.values)
            if name.startswith(each.prefix)
        }
        for each in entries
    ]
    return all(each == places[0] for each in places)


def _named(values: Mapping[Any, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in values.items():
        if isinstance(name, str) and isinstance(value, torch.Tensor):
            yield _plain_name(name), value


def _plain_name(name: str) -> str:
    """Return a name without what wrappers add."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    return ".".join(parts).replace("base_model.model.", "")


def _unwrapped(
    content: Mapping[Any, Any], chosen: _Entry, all_of: list[_Entry], origin: str
) -> Published:
    result = Published(entry=chosen.entry, tensors={})
    others = [each.entry for each in all_of if each.entry != chosen.entry]
    level: Mapping[Any, Any] = content
    for container in chosen.containers:
        beside = [str(name) for name in level if name != container and name not in others]
        _leave_out(result, "beside the weights", beside)
        level = level[container]
    _leave_out(result, f"other sets of weights ({chosen.entry} is used)", others)
    # A set within the chosen one, such as `ema_model.*` beside names without a prefix.
    within = tuple(
        each.prefix
        for each in all_of
        if each.values is chosen.values and len(each.prefix) > len(chosen.prefix)
    )
    origins: dict[str, str] = {}
    for name, value in chosen.values.items():
        plain = _plain_name(str(name))
        if within and plain.startswith(within):
            continue
        if not isinstance(value, torch.Tensor):
            _leave_out(result, "no tensors", [str(name)])
            continue
        if not plain.startswith(chosen.prefix):
            _leave_out(result, f"outside of the model ({chosen.prefix}*)", [str(name)])
            continue
        plain = plain.removeprefix(chosen.prefix)
        if plain in origins:
            raise DataInvalid(
                f"The weights file {origin} has {origins[plain]} and {name}, both {plain}.",
                "Which of the two belongs to the model can't be told, so nothing was used.",
                "Save the state_dict of the unwrapped model, or remove one of them.",
            )
        origins[plain] = str(name)
        result.tensors[plain] = value
    _count_removed(result, origins, chosen.prefix)
    found = sort_out(result.tensors, origin=origin)
    result.tensors, result.adapter, result.bare = found.tensors, found.adapter, found.bare
    for why, names in found.left_out.items():
        _leave_out(result, why, names)
    return result


def _leave_out(result: Published, why: str, names: list[str]) -> None:
    if names:
        result.left_out.setdefault(why, []).extend(names)


def _count_removed(result: Published, origins: Mapping[str, str], prefix: str) -> None:
    """Count which wrappers and prefixes the names had."""
    if prefix:
        result.removed[prefix] = len(origins)
    for name in origins.values():
        wrappers = [f"{part}." for part in name.split(".") if part in _WRAPPERS]
        wrappers += ["base_model.model."] * ("base_model.model." in name)
        for each in dict.fromkeys(wrappers):
            result.removed[each] = result.removed.get(each, 0) + 1
