"""Optimisers as a part: their state by parameter name, never by position.

PyTorch numbers parameters; two of equal shape that changed places would swap their moments without
a word. Here each group lists names, and each parameter's state stands under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from unbroken.errors import NotEncodable
from unbroken.state.stored import Stored, in_memory, is_tensor
from unbroken.tree import map_leaves


class OptimizerPart:
    """The state of one optimiser.

    Args:
        name: The part's name.
        optimizer: The optimiser, built over parameters of the declared modules.
        declared: Every parameter of the declared modules by its leaf path.

    Raises:
        NotEncodable: A parameter of the optimiser belongs to no declared module.
    """

    def __init__(
        self, name: str, optimizer: torch.optim.Optimizer, declared: Mapping[str, torch.Tensor]
    ) -> None:
        names = {id(each): path for path, each in declared.items()}
        self.name = name
        self.optimizer = optimizer
        self.parameters: dict[str, torch.Tensor] = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if id(parameter) not in names:
                    raise _foreign(name, optimizer, parameter, declared)
                self.parameters[names[id(parameter)]] = parameter
        self.names = {id(each): name for name, each in self.parameters.items()}

    def capture(self) -> dict[str, Any]:
        """Return the optimiser's `class`, `state` by parameter name, and `groups` of options and names.

        Raises:
            NotEncodable: The optimiser keeps state under something that is no parameter.
        """
        plain = self.optimizer.state_dict()
        numbered = [p for group in self.optimizer.param_groups for p in group["params"]]
        foreign = [key for key in plain["state"] if type(key) is not int]
        if foreign:
            raise NotEncodable(
                f"{self.name} keeps state under {foreign[0]!r}, which is no parameter.",
                "State is saved by the name of its parameter; this one has none.",
                "Declare the object that owns this state to Run(...) as a part of its own.",
            )
        state = {self._name(numbered[i]): each for i, each in plain["state"].items()}
        groups = [
            {**{key: each for key, each in saved.items() if key != "params"}, "params": names}
            for saved, names in zip(plain["param_groups"], self._group_names(), strict=True)
        ]
        return {"class": type(self.optimizer).__qualname__, "state": state, "groups": groups}

    def moments(self) -> list[str]:
        """Return the leaf paths of the state that has its parameter's shape; no counters."""
        return [
            f"{self.name}.state.{name}.{key}"
            for name, parameter in self.parameters.items()
            for key, each in self.optimizer.state.get(parameter, {}).items()
            if isinstance(each, torch.Tensor) and each.dim() and each.shape == parameter.shape
        ]

    def _group_names(self) -> list[list[str]]:
        return [[self._name(p) for p in g["params"]] for g in self.optimizer.param_groups]

    def _name(self, parameter: torch.Tensor) -> str:
        """Return a parameter's leaf path; one that was added since the start has none."""
        known = self.names.get(id(parameter))  # a lazy module's parameter has no shape yet
        return known or f"added after Run(...), shape {tuple(parameter.shape)}"

    def differences(self, saved: Any) -> list[str]:
        """Compare groups, names, options' names, and the shapes of elementwise state."""
        if not isinstance(saved, dict) or set(saved) != {"class", "state", "groups"}:
            return [f"{self.name}: the saved state is not an optimiser's"]
        if saved["class"] != type(self.optimizer).__qualname__:
            return [f"{self.name}: is {type(self.optimizer).__qualname__}, was {saved['class']}"]
        live = self._group_names()
        if len(live) != len(saved["groups"]):
            return [f"{self.name}: {len(live)} parameter groups, were {len(saved['groups'])}"]
        found = []
        for i, (names, old) in enumerate(zip(live, saved["groups"], strict=True)):
            if names != old["params"]:
                changed = [n for n in names if n not in old["params"]][:3]
                gone = [n for n in old["params"] if n not in names][:3]
                found.append(
                    f"{self.name}.groups.{i}: parameters differ: new {changed}, gone {gone}"
                    if changed or gone
                    else f"{self.name}.groups.{i}: the same parameters in another order"
                )
            options = set(self.optimizer.param_groups[i])
            if options != set(old):
                found.append(f"{self.name}.groups.{i}: options differ: {options ^ set(old)}")
        for name, each in saved["state"].items():
            found.extend(self._state_differences(name, each))
        return found

    def _state_differences(self, name: str, saved: Any) -> list[str]:
        if name not in self.parameters:
            return [f"{self.name}.state.{name}: surplus in the checkpoint"]
        parameter = self.parameters[name]
        if is_lazy(parameter):
            return []
        shape = parameter.shape
        return [
            f"{self.name}.state.{name}.{key}: shape {tuple(each.shape)}, parameter {tuple(shape)}"
            for key, each in saved.items()
            if key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
            and is_tensor(each)
            and each.shape != shape
        ]

    def restore(self, saved: Any) -> None:
        """Set options and state; dtypes stay as saved, devices follow the parameters."""
        for group, old in zip(self.optimizer.param_groups, saved["groups"], strict=True):
            for key, stored in old.items():
                if key == "params":
                    continue
                live, value = group.get(key), map_leaves(stored, lambda _, each: in_memory(each))
                if isinstance(live, torch.Tensor) and isinstance(value, torch.Tensor):
                    live.copy_(value)  # a tensor rate may be captured by a graph: keep its storage
                else:
                    group[key] = value
        on_device = {
            name
            for group in self.optimizer.param_groups
            if group.get("capturable") or group.get("fused")
            for name in (self.names[id(p)] for p in group["params"])
        }
        self.optimizer.state.clear()
        for name, each in saved["state"].items():
            parameter = self.parameters[name]

            def place(path: str, value: Any, parameter: Any = parameter, name: str = name) -> Any:
                if isinstance(value, Stored):
                    value = value.read()
                elif isinstance(value, torch.Tensor):
                    value = value.clone()
                else:
                    return value
                if path == "step" and name not in on_device:
                    return value  # counters of an unfused optimiser live on the host
                return value.to(parameter.device)

            self.optimizer.state[parameter] = map_leaves(each, place)


def _foreign(
    name: str,
    optimizer: torch.optim.Optimizer,
    parameter: torch.Tensor,
    declared: Mapping[str, torch.Tensor],
) -> NotEncodable:
    """Return the error about a parameter that no declared module has; one may have been replaced."""
    updated = {id(each) for group in optimizer.param_groups for each in group["params"]}
    anew = [
        path
        for path, each in declared.items()
        if each.requires_grad and each.shape == parameter.shape and id(each) not in updated
    ]
    found = (
        f"{name} updates a parameter of shape {tuple(parameter.shape)} that belongs to no declared "
        "model"
    )
    if not anew:
        return NotEncodable(
            f"{found}.",
            "Its value would not be saved, though its momentum would.",
            "Declare the module that owns it to Run(...).",
        )
    return NotEncodable(
        f"{found}, and it doesn't update {' or '.join(anew[:3])} of this shape: the parameter was "
        "replaced (moved, cast, rebuilt) after the optimiser was built with the old one.",
        "The optimiser would update the old parameter, and never the one that the model uses.",
        "Build the optimiser when the model is finished; or declare the module that owns the "
        "parameter to Run(...).",
    )
