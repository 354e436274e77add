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
from unbroken_tts.model.lora import Adapter, adapter_in, is_of_adapter, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FLAT: Final = "."
"""The name of the entry whose tensors lie in the file itself, without a prefix."""

_DEEPEST = 6
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that DataParallel, torch.compile, FSDP and activation checkpointing add, anywhere."""
_TELLING = re.compile(
    r"^(?P<prefix>(.*\.)?)text_embedding\."
    r"(base_layer\.|original_module\.|modules_to_save\.[^.]+\.)?weight$"
)
_COPY = re.compile(r"^(?P<module>.+)\.modules_to_save\.(?P<adapter>[^.]+)\.(?P<leaf>.+)$")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormChoice:
    """What a person says about a file that doesn't say it itself."""

    entry: str | None = None
    """Which of several sets of weights to use, by the name that the refusal lists."""
    lora_alpha: float | None = None
    """Alpha of an unmerged LoRA adapter."""

    def require_file(self, path: Path) -> None:
        """Refuse what was said if it is said of a run, which needs none of it.

        Raises:
            SettingsInvalid: Something was said, and the path is a directory.
        """
        said = "--weights-entry" if self.entry is not None else "--lora-alpha"
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

    def notes(self) -> list[str]:
        """Return a line about each kind of thing that was left out."""
        return [
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
    found = {each.entry: each for each in _entries(content)}
    if entry is not None:
        if entry not in found:
            raise SettingsInvalid(
                f"--weights-entry is {entry}, but {origin} has {shown(sorted(found)) or 'none'}.",
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
    strength = strength_of(path, alpha)
    tensors = merged(published.tensors, adapter, strength, origin=str(path))
    return tensors, f"merged the {adapter}, {strength}"


def unusable_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    """Return why -> names of tensors that are no dense floating-point values in host memory."""
    found: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        why = _fault(tensor)
        if why:
            found.setdefault(why, []).append(name)
    return found


def shown(names: list[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    head = ", ".join(names[:8])
    return head if len(names) <= 8 else f"{head} and {len(names) - 8} more"


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
    values: Mapping[Any, Any], containers: tuple[str, ...] = (), seen: tuple[int, ...] = ()
) -> Iterator[_Entry]:
    """Yield every place where a text embedding lies; a hostile file may contain itself."""
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
            yield from _entries(value, (*containers, name), (*seen, id(values)))


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
    _sort_out(result, origin)
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


# Why a tensor is no part of the model, by its plain name.
_NOT_OF_THE_MODEL: Final[dict[str, Callable[[str, torch.Tensor], bool]]] = {
    "copies that inference makes": lambda name, _: name.startswith("inference_model."),
    "an embedding that the model replaces": lambda name, _: name.startswith("gpt.wte."),
    "masks of older transformers": lambda name, _: bool(
        re.match(r"gpt\.h\.\d+\.attn\.(bias|masked_bias)$", name)
    ),
    "counters": lambda _, tensor: tensor.dim() == 0 and not tensor.is_floating_point(),
}


def _sort_out(result: Published, origin: str) -> None:
    """Part the model's tensors from the adapter's and from what is no part of the model."""
    _take_trained_copies(result, origin)
    for why, is_left_out in _NOT_OF_THE_MODEL.items():
        names = [name for name, each in result.tensors.items() if is_left_out(name, each)]
        _leave_out(result, why, names)
        _require_no_lost_adapter(names, result.tensors, origin)
        for name in names:
            del result.tensors[name]
    result.adapter = adapter_in(result.tensors, origin=origin)
    plain: dict[str, torch.Tensor] = {}
    for name, tensor in result.tensors.items():
        if is_of_adapter(name):
            continue
        short = name.replace(".base_layer.", ".")
        if short in plain or (short != name and short in result.tensors):
            raise DataInvalid(
                f"The weights file {origin} has {name} beside {short}.",
                "Which of the two belongs to the model can't be told, so nothing was used.",
                "Save the state_dict of the model with its adapter merged.",
            )
        plain[short] = tensor
    result.tensors = plain


def _take_trained_copies(result: Published, origin: str) -> None:
    """Replace modules by the trained copies that peft's `modules_to_save` made of them."""
    adapters = set()
    for name in list(result.tensors):
        found = _COPY.match(name)
        if found is None:
            continue
        adapters.add(found["adapter"])
        module, leaf = found["module"], found["leaf"]
        original = f"{module}.original_module.{leaf}"
        if original in result.tensors:
            del result.tensors[original]
            _leave_out(result, "replaced by their trained copies", [original])
        result.tensors[f"{module}.{leaf}"] = result.tensors.pop(name)
    if len(adapters) > 1:
        raise DataInvalid(
            f"The weights file {origin} has trained copies of {', '.join(sorted(adapters))}.",
            "Which of them belongs to the model can't be told, so nothing was used.",
            "Save the state_dict with the one adapter that is wanted.",
        )


_NAMES_IN_INFERENCE = {
    "inference_model.transformer.": "gpt.",
    "inference_model.lm_head.0.": "final_norm.",
    "inference_model.lm_head.1.": "mel_head.",
    "inference_model.embeddings.": "mel_embedding.",
    "inference_model.text_pos_embedding.": "mel_pos_embedding.",
}


def _require_no_lost_adapter(
    names: list[str], tensors: Mapping[str, torch.Tensor], origin: str
) -> None:
    """Refuse an adapter that lies only in a copy: left out with it, its training would be lost."""
    for name in filter(is_of_adapter, names):
        own = next(
            (
                name.replace(copy, model, 1)
                for copy, model in _NAMES_IN_INFERENCE.items()
                if copy in name
            ),
            name,
        )
        if not own.startswith("gpt.wte.") and own not in tensors:
            raise DataInvalid(
                f"The weights file {origin} has an adapter only in a copy of the model: {name}.",
                "The copy is made anew for inference, so what was trained would be lost.",
                "Merge the adapter in the program that made it, and save the whole state_dict.",
            )


def _fault(tensor: torch.Tensor) -> str:
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return "sparse or without values"
    if tensor.is_quantized or not (tensor.is_floating_point() or tensor.is_complex()):
        return "integers (a quantised model?)"
    if tensor.dtype not in _DTYPES:
        return f"{tensor.dtype} values".replace("torch.", "")
    return "" if tensor.dim() else "single numbers"
