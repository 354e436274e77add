"""Putting a saved optimiser back: streamed to where its state lies, or by the object's own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unbroken.errors import NotEncodable
from unbroken.state.codec import encode
from unbroken.state.foreign import while_loading
from unbroken.state.optimizer_values import OptimizerValues, Place, laid_like
from unbroken.state.own_ways import code_options, gives_its_own, is_of_torch, takes_its_own
from unbroken.state.shared_tensors import share_again
from unbroken.state.stored import Stored, home


class RestoreWay:
    """Puts saved forms into one optimiser.

    Args:
        path: The part's name, or where the optimiser stands in it.
        optimizer: The optimiser.
        parameters: Its parameters by leaf path.
        values: Turns written values into live ones.
    """

    def __init__(
        self,
        path: str,
        optimizer: Any,
        parameters: Mapping[str, torch.Tensor],
        values: OptimizerValues,
    ) -> None:
        self._path = path
        self._optimizer = optimizer
        self._parameters = parameters
        self._values = values

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Put groups and state back.

        Raises:
            StateMismatch: The object's own `load_state_dict()` failed.
        """
        self._add_groups(saved["groups"])
        if takes_its_own(self._optimizer):
            self._restore_its_way(saved)
            return
        self._restore_groups(saved["groups"])
        self._restore_state(saved)
        if not is_of_torch(self._optimizer):
            # What PyTorch's own load_state_dict() would end with.
            state, groups = self._optimizer.state, self._optimizer.param_groups
            self._optimizer.__setstate__({"state": state, "param_groups": groups})

    def _add_groups(self, groups: list[dict[str, Any]]) -> None:
        for old in groups[len(self._optimizer.param_groups) :]:
            options = self._values.live(old, self._beside)
            parameters = [self._parameters[name] for name in old["params"]]
            self._optimizer.add_param_group({**options, "params": parameters})

    def _restore_groups(self, groups: list[dict[str, Any]]) -> None:
        of_several: dict[tuple[str, int], Any] = {}  # the code may give two groups one list
        for group, old in zip(self._optimizer.param_groups, groups, strict=True):
            for key, stored in old.items():
                if key == "params":
                    continue
                live: Any = group.get(key)
                value = _there(self._values.live(stored, self._beside, onto=live), live, stored)
                if _can_be_copied(live, value):
                    live.copy_(value)  # a tensor rate may be captured by a graph: keep its storage
                elif isinstance(live, dict | list):
                    group[key] = of_several.setdefault((key, id(live)), value)
                else:
                    group[key] = value

    def _restore_state(self, saved: Mapping[str, Any]) -> None:
        counted_there = self._counted_on_device()
        state = self._optimizer.state
        state.clear()
        for name, each in saved["state"].items():
            parameter = self._parameters[name]
            state[parameter] = self._values.live(each, _at(parameter, name in counted_there))
        share_again(saved.get("shared", []), state, self._parameters)
        state.update(self._values.live(saved.get("keyed", {}), self._beside))

    def _counted_on_device(self) -> set[str]:
        """Return the parameters whose step counter must lie where they lie."""
        names = {id(each): name for name, each in self._parameters.items()}
        return {
            name
            for group in self._optimizer.param_groups
            if group.get("capturable") or group.get("fused")
            for name in (names[id(each)] for each in group["params"])
        }

    def _restore_its_way(self, saved: Mapping[str, Any]) -> None:
        """Give the object what its `state_dict()` gave; then set right what PyTorch's casts changed."""
        with while_loading(self._path):
            self._optimizer.load_state_dict(self._plain(saved))
        if not gives_its_own(self._optimizer):
            self._restore_groups(saved["groups"])
            self._set_right(saved)

    def _plain(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `state_dict()` gave: parameters are numbers again."""
        counted_there = self._counted_on_device()
        own = self._values.live(saved.get("own", {}), self._beside)
        if own.keys() == {"whole"}:
            whole: dict[str, Any] = own["whole"]
            return whole
        numbers: dict[str, int] = {}
        for group in saved["groups"]:
            for name in group["params"]:
                numbers.setdefault(name, len(numbers))
        state = {
            numbers[name]: self._values.live(
                each, _at(self._parameters[name], name in counted_there)
            )
            for name, each in saved["state"].items()
            if name in numbers
        }
        groups = [
            {
                **code_options(self._optimizer, i),
                **self._values.live(
                    {k: v for k, v in group.items() if k != "params"}, self._beside
                ),
                "params": [numbers[name] for name in group["params"]],
            }
            for i, group in enumerate(saved["groups"])
        ]
        keyed = self._values.live(saved.get("keyed", {}), self._beside)
        return {"state": {**state, **keyed}, "param_groups": groups, **own}

    def _set_right(self, saved: Mapping[str, Any]) -> None:
        """Put each value that does not come out as it was saved where it belongs."""
        counted_there = self._counted_on_device()
        state = self._optimizer.state
        for name, each in saved["state"].items():
            parameter = self._parameters[name]
            wanted = self._values.live(each, _at(parameter, name in counted_there))
            held = state.get(parameter, {})
            for key, value in wanted.items() if isinstance(wanted, Mapping) else ():
                now = held.get(key)
                there = _there(value, now, each.get(key))
                if key not in held or not _is_same(now, there):
                    held[key] = there
            for key in held.keys() - wanted.keys():
                del held[key]
            state[parameter] = held

    def restore_attributes(self, saved: Mapping[str, Any]) -> None:
        """Set the attributes that had changed since the run was set up."""
        for name, each in saved.items():
            live: Any = getattr(self._optimizer, name, None)
            value = _there(self._values.live(each, self._beside, onto=live), live, each)
            if _can_be_copied(live, value):
                live.copy_(value)
            else:
                setattr(self._optimizer, name, value)

    def _beside(
        self,
        key: str,  # noqa: ARG002  # as a `Place`
        value: torch.Tensor,
        saved: str | None,
    ) -> torch.Tensor:
        """Put a tensor of no parameter where it lay; else numbers on the host, others by the parameters."""
        first = next((p for g in self._optimizer.param_groups for p in g["params"]), None)
        if first is None:
            return value
        if saved is None:
            return value.to(first.device) if value.dim() else value
        return value.to(home(saved, first.device))


def _at(parameter: torch.Tensor, is_counted_there: bool) -> Place:
    """Put what is kept for a parameter where it lay; else by the parameter, its counters on the host."""

    def place(key: str, value: torch.Tensor, saved: str | None) -> torch.Tensor:
        if key == "step" and is_counted_there:
            return value.to(parameter.device)  # whatever lay where: the kernel asks for it
        if saved is None and key == "step":
            return value
        where = parameter.device if saved is None else home(saved, parameter.device)
        return laid_like(value, parameter, where)

    return place


def _there(value: Any, live: Any, stored: Any) -> Any:
    """Put a tensor of which nothing tells where it lay to where the live one lies."""
    is_told = isinstance(stored, Stored) and stored.device is not None
    if is_told or not isinstance(value, torch.Tensor) or not isinstance(live, torch.Tensor):
        return value
    return value.to(live.device)


def _can_be_copied(live: Any, value: Any) -> bool:
    return (
        isinstance(live, torch.Tensor)
        and isinstance(value, torch.Tensor)
        and (live.shape, live.dtype, live.device) == (value.shape, value.dtype, value.device)
        and not live.requires_grad
    )


def _is_same(live: Any, value: Any) -> bool:
    """Say whether two values have the same form and the same bits."""
    if type(live) is not type(value):
        return False
    one: dict[str, torch.Tensor] = {}
    other: dict[str, torch.Tensor] = {}
    try:
        if encode(live, "", one) != encode(value, "", other) or one.keys() != other.keys():
            return False
    except NotEncodable:
        return False
    return all(_same_bits(each, other[path]) for path, each in one.items())


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if (a.dtype, a.shape, a.stride(), a.device) != (b.dtype, b.shape, b.stride(), b.device):
        return False
    same = torch.equal(a, b)
    return same or (a.is_floating_point() and torch.equal(a.isnan(), b.isnan())
                    and torch.equal(a.nan_to_num(), b.nan_to_num()))  # fmt: skip
