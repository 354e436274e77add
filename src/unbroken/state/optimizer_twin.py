"""A second optimiser, as the first was when the run was set up: it shows that a state is taken back.

It is kept only for optimisers with a way of their own to load, and only until it was asked once. It
lies on the host; its parameters have no content, and take no memory until something writes to them.
"""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from unbroken.errors import UnbrokenError
from unbroken.state.codec import decode, encode
from unbroken.state.digest import tensor_digests
from unbroken.state.optimizer_form import OptimizerForm
from unbroken.state.own_ways import is_optimizer


class Twin:
    """Takes a state in where nothing can be spoilt."""

    def __init__(self, form: OptimizerForm) -> None:
        self._form = form

    @classmethod
    def of(cls, optimizer: Any, parameters: Mapping[str, torch.Tensor]) -> Twin | None:
        """Return a twin of an optimiser as it is now; None where it can't be copied."""
        memo: dict[int, Any] = {}
        own = {path: _empty(each) for path, each in parameters.items()}
        memo.update({id(each): own[path] for path, each in parameters.items()})
        try:
            made = _copied(optimizer, memo)
            names = {id(each): path for path, each in own.items()}
            return cls(OptimizerForm("optimizer", made, names, own))
        except Exception:  # noqa: BLE001  # whatever it holds: then nothing is known beforehand
            return None

    def refusals(self, captured: Any) -> list[str]:
        """Say what the optimiser refuses, or does not give back as it was."""
        tensors: dict[str, torch.Tensor] = {}
        form = encode(captured, "optimizer", tensors)
        on_host = {path: each.detach().to("cpu", copy=True) for path, each in tensors.items()}
        try:
            self._form.restore(decode(form, on_host))
        except UnbrokenError as error:
            return [error.what]
        again: dict[str, torch.Tensor] = {}
        if encode(self._form.capture(), "optimizer", again) != form:
            return [_not_given_back(tensors, again)]
        before, after = tensor_digests(on_host), tensor_digests(again)
        return [
            f"{path} does not come back through load_state_dict() as it was saved"
            for path, each in before.items()
            if after[path] != each or again[path].dtype != on_host[path].dtype
        ][:5]


def _not_given_back(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    paths = sorted(before.keys() ^ after.keys())[:3]
    what = f": {', '.join(paths)}" if paths else " in its options or numbers"
    return f"what load_state_dict() took is not what state_dict() gave{what}"


def _empty(parameter: torch.Tensor) -> torch.Tensor:
    made = torch.empty_like(parameter, device="cpu", requires_grad=False)
    if isinstance(parameter, nn.Parameter):
        return nn.Parameter(made, requires_grad=parameter.requires_grad)
    return made.requires_grad_(parameter.requires_grad)


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """Copy as `copy.deepcopy` does, but to the host, and optimisers with all of their attributes."""
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, torch.Tensor):
        made: Any = value.detach().to("cpu", copy=True)
        if isinstance(value, nn.Parameter):
            made = nn.Parameter(made, requires_grad=value.requires_grad)
    elif is_optimizer(value):
        made = object.__new__(type(value))
        memo[id(value)] = made
        vars(made).update({key: _copied(each, memo) for key, each in vars(value).items()})
    elif type(value) in (dict, OrderedDict, defaultdict):
        made = type(value)()
        if isinstance(value, defaultdict):
            made = defaultdict(value.default_factory)
        memo[id(value)] = made
        made.update({_copied(k, memo): _copied(each, memo) for k, each in value.items()})
    elif type(value) is list:
        made = []
        memo[id(value)] = made
        made.extend(_copied(each, memo) for each in value)
    else:
        made = copy.deepcopy(value, memo)
    memo[id(value)] = made
    return made
