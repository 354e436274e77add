"""The fingerprint of a step: numbers that show whether weights, statistics and averages are what they were.

Looking at all of a model after each step would cost more than many steps. A few entries of a few
tensors are looked at instead: an update, a decay or an average that goes another way moves them all.
What moves other entries only is not seen here. Another choice of entries makes other numbers, which
must then have other names in the journal.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

import torch
from torch import nn

from unbroken.state.modules import ModulePart
from unbroken.tree import uncompiled

WEIGHTS: Final = "weight_sketch"
"""Norm of sampled entries of what an optimiser updates, before the step's update."""
BUFFERS: Final = "buffer_sketch"
"""Norm of sampled entries of the buffers of the models it trains, such as running statistics."""
AVERAGES: Final = "average_sketch"
"""Norm of sampled entries of the models that no optimiser trains: averages, teachers."""
KEPT: Final = "part_sketch"
"""Norm of sampled entries of the tensors that other parts keep: averages of a class of one's own."""
MODES: Final = "modules_in_eval"
"""How many of the trained models, and of some of their dropouts and batch norms, are in evaluation
mode."""
NAMES: Final = (WEIGHTS, BUFFERS, AVERAGES, KEPT, MODES)
"""As the journal calls them."""

TENSORS: Final = {WEIGHTS: 12, BUFFERS: 4, AVERAGES: 4, KEPT: 4}
"""How many tensors of each kind are looked at."""
ENTRIES: Final = 16
"""Neighbouring entries of each: one line of the processor's cache."""
MODULES: Final = 4
"""How many dropouts and batch norms are looked at."""

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_ACT_BY_MODE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)  # noqa: SLF001  # their bases


@dataclass(slots=True)
class _Place:
    """Where a tensor is kept; its owner may put another one there."""

    held: Callable[[], torch.Tensor | None]
    """Returns what is there now; None where nothing is."""
    tensor: torch.Tensor | None = None
    address: int = -1
    entries: torch.Tensor | None = None
    count: int = 0
    size: int = 0
    on: torch.device | None = None
    """Where the entries are that were looked at last."""

    @property
    def device(self) -> torch.device | None:
        """Where the tensor is now; None where none is: its owner may put one there again."""
        tensor = self.held()
        return None if tensor is None else tensor.device

    def look(self) -> torch.Tensor | None:
        """Return a view of some entries; None where nothing can be looked at."""
        tensor = self.held()
        if tensor is None:
            return None
        is_other = tensor is not self.tensor
        if is_other and not _is_plain(tensor):
            return None
        size, address = tensor.numel(), tensor.data_ptr()
        if is_other or size != self.size or address != self.address:
            self.tensor, self.size, self.address = tensor, size, address
            self.entries = _middle(tensor)
            self.count, self.on = len(self.entries), self.entries.device
        return self.entries


class StepFingerprint:
    """Records the fingerprint of each step, after its last backward pass and before its update.

    Args:
        parts: By name; models among them are looked at.
        trained: What an optimiser updates, by leaf path.
    """

    def __init__(self, parts: Mapping[str, object], trained: Mapping[str, torch.Tensor]) -> None:
        self._parts = parts
        self._trained = trained
        self._places: dict[str, list[_Place]] = {}
        self._modules: list[nn.Module] = []
        self._lengths: dict[str, int] = {}
        self._in_eval: int | None = None
        self._device: torch.device | None = None
        # Only these are chosen from: what comes, or goes, while training is not so at every start.
        self._built = list(self._every_place())
        self.entries: torch.Tensor | None = None
        """Those of this step, 1-dim, where the tensors are; None where none were recorded."""

    def record(self) -> None:
        """Note what this step leaves."""
        if not self._places:
            self._find()
        self.clear()
        views: list[torch.Tensor] = []
        for name, places in self._places.items():
            self._lengths[name] = 0
            for place in places:
                entries = place.look()
                if entries is not None and place.on == self._device:
                    self._lengths[name] += place.count
                    views.append(entries)
        if views:
            self.entries = torch.cat(views)
        if self._modules:
            self._in_eval = sum(not each.training for each in self._modules)

    def summary(self, entries: Sequence[float] | None = None) -> dict[str, float]:
        """Return the step's fingerprint by name, and forget it.

        Args:
            entries: As they were brought to the host; None where that is still to be done.
        """
        if entries is None:
            entries = [] if self.entries is None else self.entries.tolist()
        found: dict[str, float] = {}
        rest = iter(entries)
        for name, length in self._lengths.items():
            if length:
                found[name] = math.hypot(*islice(rest, length))
        if self._in_eval is not None:
            found[MODES] = self._in_eval
        self.clear()
        return found

    def clear(self) -> None:
        """Forget what was recorded."""
        self.entries, self._in_eval = None, None
        self._lengths = {}

    def _every_place(self) -> Iterator[tuple[str, str, _Place]]:
        """Yield what each place is looked at for, its path, and the place."""
        trained = {id(each) for each in self._trained.values()}
        for part, each in self._parts.items():
            if not isinstance(each, ModulePart):
                target = getattr(each, "target", None)
                yield from ((KEPT, path, place) for path, place in _kept(part, target))
                continue
            is_trained = any(id(p) in trained for p in each.module.parameters())
            if is_trained:
                acting = (one for one in each.module.modules() if isinstance(one, _ACT_BY_MODE))
                self._modules += [each.module, *islice(acting, MODULES)]
            for path, place, is_buffer in _places(part, each.module):
                if not is_trained:
                    yield AVERAGES, path, place
                elif is_buffer:
                    yield BUFFERS, path, place
                elif id(place.held()) in trained:
                    yield WEIGHTS, path, place

    def _find(self) -> None:
        found: dict[str, list[tuple[str, _Place]]] = {
            WEIGHTS: [],
            BUFFERS: [],
            AVERAGES: [],
            KEPT: [],
        }
        for name, path, place in self._built:
            found[name].append((path, place))
        self._device = next((one.device for one in self._trained.values()), None)
        self._places = {
            name: _chosen(each, TENSORS[name], self._device) for name, each in found.items()
        }


def _places(part: str, model: nn.Module) -> Iterator[tuple[str, _Place, bool]]:
    """Yield the path and place of every saved floating-point tensor, and whether it is a buffer."""
    for path, module in model.named_modules():
        fleeting = getattr(module, "_non_persistent_buffers_set", ())
        # Their dicts, for a module may replace what is in them.
        owners = (getattr(module, "_parameters", None), getattr(module, "_buffers", None))
        for owner, is_buffer in zip(owners, (False, True), strict=True):
            if not isinstance(owner, dict):
                continue
            for name, tensor in owner.items():
                if tensor is not None and name not in fleeting and _is_plain(tensor):
                    place = _Place(partial(owner.get, name))
                    yield f"{part}.{uncompiled(path)}.{name}", place, is_buffer


def _kept(part: str, target: object) -> Iterator[tuple[str, _Place]]:
    """Yield the path and place of every tensor in the dicts and lists that an object keeps."""
    for name, owner in getattr(target, "__dict__", {}).items():
        if isinstance(owner, dict | list):
            keys = owner.keys() if isinstance(owner, dict) else range(len(owner))
            for key in keys:
                if isinstance(owner[key], torch.Tensor) and _is_plain(owner[key]):
                    # From the object each time: loading a state may replace the whole dict.
                    place = _Place(partial(_item, target.__dict__, name, key))
                    yield f"{part}.{name}.{key}", place


def _item(attributes: Mapping[str, Any], name: str, key: Any) -> torch.Tensor | None:
    """Return a tensor in a dict or list among an object's attributes; None where it is not there."""
    try:
        found = attributes[name][key]
    except (KeyError, IndexError, TypeError):
        return None
    return found if isinstance(found, torch.Tensor) else None


def _chosen(
    places: Sequence[tuple[str, _Place]], count: int, device: torch.device | None
) -> list[_Place]:
    """Return some of one device, by the digest of their paths, so that no kind of layer is left out."""
    ordered = sorted(places, key=lambda each: hashlib.blake2b(each[0].encode()).digest())
    return [place for _, place in ordered if place.device in (device, None)][:count]


def _is_plain(tensor: torch.Tensor) -> bool:
    """Say whether entries can be looked at where they are: nothing sharded, quantised or sparse."""
    return (
        type(tensor) in (torch.Tensor, nn.Parameter)
        and tensor.dtype in _DTYPES
        and tensor.layout is torch.strided
        and tensor.device.type != "meta"
        and tensor.numel() > 0
        and tensor.is_contiguous()
    )


def _middle(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().view(-1)
    start = max(0, flat.numel() // 2 - ENTRIES // 2)
    return flat[start : start + ENTRIES]
