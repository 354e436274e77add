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
            options = self._values.live(old, _at_home)
            parameters = [self._parameters[name] for name in old["params"]]
            self._optimizer.add_param_group({**options, "params": parameters})

    def _restore_groups(self, groups: list[dict[str, Any]]) -> None:
        of_several: dict[tuple[str, int], Any] = {}  # the code may give two groups one list
        for group, old in zip(self._optimizer.param_groups, groups, strict=True):
            for key, stored in old.items():
                if key == "params":
                    continue
                live: Any = group.get(key)
                value = self._values.live(stored, _at_home, onto=live)
                if _can_be_copied(live, value):
                    live.copy_(value)  # a tensor rate may be captured by a graph: keep its storage
                elif isinstance(live, dict | list):
                    group[key] = of_several.setdefault((key, id(live)), value)
                else:
                    group[key] = value

    def _restore_state(self, saved: Mapping[str, Any]) -> None:
        on_device = self._on_device()
        state = self._optimizer.state
        state.clear()
        for name, each in saved["state"].items():
            parameter = self._parameters[name]

            def place(
                key: str, value: torch.Tensor, parameter: Any = parameter, name: str = name
            ) -> torch.Tensor:
                if key == "step" and name not in on_device:
                    return value  # counters of an unfused optimiser live on the host
                return laid_like(value, parameter)

            state[parameter] = self._values.live(each, place)
        share_again(saved.get("shared", []), state, self._parameters)
        state.update(self._values.live(saved.get("keyed", {}), self._beside))

    def _on_device(self) -> set[str]:
        """Return the parameters whose step counter lies where they lie."""
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
        own = self._values.live(saved.get("own", {}), _at_home)
        if own.keys() == {"whole"}:
            whole: dict[str, Any] = own["whole"]
            return whole
        numbers: dict[str, int] = {}
        for group in saved["groups"]:
            for name in group["params"]:
                numbers.setdefault(name, len(numbers))
        state = {
            numbers[name]: self._values.live(each, _laid_like(self._parameters[name]))
            for name, each in saved["state"].items()
            if name in numbers
        }
        groups = [
            {
                **code_options(self._optimizer, i),
                **self._values.live({k: v for k, v in group.items() if k != "params"}, _at_home),
                "params": [numbers[name] for name in group["params"]],
            }
            for i, group in enumerate(saved["groups"])
        ]
        keyed = self._values.live(saved.get("keyed", {}), _at_home)
        return {"state": {**state, **keyed}, "param_groups": groups, **own}

    def _set_right(self, saved: Mapping[str, Any]) -> None:
        """Put each value that does not come out as it was saved where it belongs."""
        state = self._optimizer.state
        for name, each in saved["state"].items():
            parameter = self._parameters[name]
            wanted = self._values.live(each, _laid_like(parameter))
            held = state.get(parameter, {})
            for key, value in wanted.items() if isinstance(wanted, Mapping) else ():
                if key not in held or not _is_same(held[key], value):
                    held[key] = _where(held.get(key), value, key, parameter.device)
            for key in held.keys() - wanted.keys():
                del held[key]
            state[parameter] = held

    def restore_attributes(self, saved: Mapping[str, Any]) -> None:
        """Set the attributes that had changed since the run was set up."""
        for name, each in saved.items():
            live: Any = getattr(self._optimizer, name, None)
            value = self._values.live(each, self._beside, onto=live)
            if _can_be_copied(live, value):
                live.copy_(value)
            else:
                setattr(self._optimizer, name, value)

    def _beside(self, key: str, value: torch.Tensor) -> torch.Tensor:  # noqa: ARG002  # as a `Place`
        """Put a tensor of no parameter where the parameters are; numbers stay on the host."""
        first = next((p for g in self._optimizer.param_groups for p in g["params"]), None)
        return value if first is None or not value.dim() else value.to(first.device)


def _at_home(key: str, value: torch.Tensor) -> torch.Tensor:  # noqa: ARG001  # as a `Place`
    return value


def _laid_like(parameter: torch.Tensor) -> Place:
    """Lay tensors as the parameter of their shape lies; where they lie is the optimiser's business."""
    return lambda _, value: (
        laid_like(value, parameter).to(value.device) if value.shape == parameter.shape else value
    )


def _can_be_copied(live: Any, value: Any) -> bool:
    return (
        isinstance(live, torch.Tensor)
        and isinstance(value, torch.Tensor)
        and (live.shape, live.dtype) == (value.shape, value.dtype)
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
    if (a.dtype, a.shape, a.stride()) != (b.dtype, b.shape, b.stride()):
        return False
    same = torch.equal(a, b.to(a.device))
    return same or (a.is_floating_point() and torch.equal(a.isnan(), b.to(a.device).isnan())
                    and torch.equal(a.nan_to_num(), b.to(a.device).nan_to_num()))  # fmt: skip


def _where(held: Any, value: Any, key: str, device: torch.device) -> Any:
    """Put a value where the one was that it replaces; else where the parameter is."""
    if not isinstance(value, torch.Tensor):
        return value
    if isinstance(held, torch.Tensor):
        return value.to(held.device)
    return value if key == "step" else value.to(device)
