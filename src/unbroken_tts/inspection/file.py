"""Inspects a file of weights or a training checkpoint; its tensors stay mapped."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from unbroken_tts.inspection.report import Inspection, count_of, training_memory
from unbroken_tts.model.families import SUPPORTED, Family, config_from_shapes, family_of
from unbroken_tts.model.gpt_file import gpt_file_shapes, is_trained
from unbroken_tts.model.published_forms import find_published
from unbroken_tts.model.sorted_tensors import shown, unusable_tensors
from unbroken_tts.model.weights_file import open_weights_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from unbroken_tts.model.gpt_file import Shape
    from unbroken_tts.model.published_forms import Published

_CHUNK = 1 << 22
_POSITION: Final = ("epoch", "step", "batch_idx", "global_step", "global_steps", "iteration")
_OF_THE_EARLIER_TRAINER = {"model", "optimizer", "scheduler", "step", "epoch", "batch_idx"}


def inspect_file(path: Path, *, entry: str | None = None) -> Inspection:
    """Inspect a file of weights.

    Raises:
        DataInvalid: It is missing, damaged, or no file of weights.
        SettingsInvalid: It has several sets of weights and none is named.
    """
    opened = open_weights_file(path)
    published = find_published(opened.content, origin=str(path), entry=entry)
    position = {
        name: value
        for name in _POSITION
        if isinstance(value := opened.content.get(name), int) and not isinstance(value, bool)
    }
    if published is None:
        tensors = _all_tensors(opened.content)
        return Inspection(
            path=str(path),
            kind=opened.kind,
            size=opened.size,
            family=f"unknown: {_description(opened.content)}",
            is_supported=False,
            faults=[],
            position=position,
            precision=_precisions(tensors.values()),
            not_finite=not_finite(tensors.items()),
        )
    kind = opened.kind
    if opened.content.keys() >= _OF_THE_EARLIER_TRAINER:
        kind += ", training checkpoint of the earlier trainer"
    return _inspected(path, kind, opened.size, published, position)


def _inspected(
    path: Path, kind: str, size: int, published: Published, position: dict[str, int]
) -> Inspection:
    tensors = published.tensors
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    family = family_of(shapes)
    adapted: dict[str, torch.Tensor] = {}
    if published.adapter is not None:
        for layer, parts in published.adapter.layers.items():
            adapted |= {f"{layer} (LoRA {part})": each for part, each in parts.items()}
    unusable = unusable_tensors(tensors)
    faults = [f"{why}: {shown(names)}" for why, names in unusable.items()]
    faults += _differences(shapes, family)
    trained = count_of(each for name, each in tensors.items() if is_trained(name))
    is_supported = family is not None and family.layout in SUPPORTED
    return Inspection(
        path=str(path),
        kind=kind,
        size=size,
        family=family.name if family else f"unknown: {_description(tensors)}",
        is_supported=is_supported and not faults,
        faults=faults,
        entry=published.entry,
        removed=published.removed,
        adapter=str(published.adapter or ""),
        left_out=published.left_out,
        vocabulary=_rows(shapes, "text_embedding.weight", spare=1),
        mel_codes=_rows(shapes, "mel_embedding.weight"),
        precision=_precisions(tensors.values()),
        trained=trained,
        carried=count_of(each for name, each in tensors.items() if not is_trained(name)),
        position=position,
        memory=training_memory(shapes, trained.numbers) if is_supported else {},
        not_finite=not_finite([*tensors.items(), *adapted.items()]),
    )


def not_finite(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, int]:
    """Return name -> number of values that are not finite, reading a mapped tensor in pieces."""
    found = {}
    for name, tensor in tensors:
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            continue
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        count = 0
        for piece in _values(tensor.detach()).split(_CHUNK):
            values = piece if piece.dtype.itemsize > 1 else piece.float()
            is_finite = torch.isfinite(values)
            count += 0 if is_finite.all() else int((~is_finite).sum())
        if count:
            found[name] = count
    return found


def _values(tensor: torch.Tensor) -> torch.Tensor:
    """Return (N,) the values of a tensor; of a view in another order, or of repeated ones, all stored."""
    if tensor.is_contiguous():
        return tensor.reshape(-1)
    return torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())


def _differences(shapes: Mapping[str, Shape], family: Family | None) -> list[str]:
    """Compare a model of the supported layout with all tensors that one of its size has."""
    if family is None or family.layout not in SUPPORTED:
        return []
    config = config_from_shapes(shapes)
    if config is None:
        return ["tensors that tell the model's size are missing"]
    expected = gpt_file_shapes(config, shapes["text_embedding.weight"][0] - 1)
    missing = [name for name in expected if name not in shapes]
    surplus = [name for name in shapes if name not in expected]
    other = [
        f"{name} {list(shapes[name])} for {list(shape)}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    return [
        f"{what}: {shown(names)}"
        for what, names in (("missing", missing), ("surplus", surplus), ("misshapen", other))
        if names
    ]


def _rows(shapes: Mapping[str, Shape], name: str, spare: int = 0) -> int | None:
    shape = shapes.get(name)
    return shape[0] - spare if shape else None


def _precisions(tensors: Iterable[torch.Tensor]) -> dict[str, int]:
    return dict(Counter(str(each.dtype).removeprefix("torch.") for each in tensors))


def _all_tensors(content: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of nested dicts by path; a dict is looked at once, also one within itself."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    left: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    while left:
        path, values = left.pop(0)
        if id(values) in seen:
            continue
        seen.add(id(values))
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                found[f"{path}{name}"] = value
            elif isinstance(value, dict):
                left.append((f"{path}{name}.", value))
    return found


def _description(content: Mapping[Any, Any]) -> str:
    tensors = _all_tensors(content)
    heads = list(dict.fromkeys(name.split(".")[0] for name in tensors))
    return f"{len(tensors)} tensors ({shown(heads)})" if tensors else "no tensors"
