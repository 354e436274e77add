"""The saved form of an optimiser: made of the live object, compared with it, and put back into it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Final

import torch

from unbroken.errors import NotEncodable, StateMismatch
from unbroken.state.codec import encode
from unbroken.state.optimizer_attributes import OptimizerAttributes, addresses
from unbroken.state.optimizer_values import (
    OptimizerValues,
    Place,
    laid_like,
    lies_as_expected,
)
from unbroken.state.own_ways import (
    gives_its_own,
    inner_optimizers,
    is_of_torch,
    takes_its_own,
)

BASE: Final = {"class", "state", "groups"}
"""What every saved optimiser has; a checkpoint of an early version has nothing else."""
LATER: Final = {"built", "keyed", "own", "attributes", "inner"}

_CODE: Final = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
"""Options that are code: a checkpoint can't hold them, and training does not change them."""


class OptimizerForm:
    """Knows one optimiser by the leaf paths of its parameters.

    Args:
        path: The part's name, or where the optimiser stands in it.
        optimizer: The optimiser.
        names: The leaf path of each parameter by its identity.
        parameters: Those parameters by leaf path.
    """

    def __init__(
        self,
        path: str,
        optimizer: Any,
        names: Mapping[int, str],
        parameters: Mapping[str, torch.Tensor],
    ) -> None:
        self._path = path
        self._optimizer = optimizer
        self._names = names
        self._parameters = parameters
        self._values = OptimizerValues(optimizer, names, parameters)
        self._attributes = OptimizerAttributes(optimizer, self._values.written)
        self._built = [set(group) - {"params"} for group in optimizer.param_groups]
        self._built_names = self._group_names()

    # Capturing

    def capture(self) -> dict[str, Any]:
        """Return the state; its tensors are the live ones."""
        form = self._own_form() if gives_its_own(self._optimizer) else self._live_form()
        form["built"] = [sorted(each) for each in self._built]
        if inner := self._inner(form):
            form["inner"] = inner
        if not is_of_torch(self._optimizer):
            elsewhere = addresses([form["state"], form.get("keyed"), form.get("own"), inner])
            if changed := self._attributes.changed(elsewhere):
                form["attributes"] = changed
        return form

    def _live_form(self) -> dict[str, Any]:
        """Read the state where it lies; `state_dict()` would give the same."""
        written = self._values.written
        state, keyed = {}, {}
        for key, each in self._optimizer.state.items():
            if (name := self._names.get(id(key))) is not None:
                state[name] = each if _is_simple(each, key) else written(each, like=key)
            elif isinstance(key, torch.Tensor):
                raise _under_a_tensor(self._path, key)
            else:
                keyed[key] = written(each)
        return self._form(state, keyed, self._optimizer.param_groups)

    def _own_form(self) -> dict[str, Any]:
        """Name the parameters in what the object's own `state_dict()` gives."""
        plain = self._optimizer.state_dict()
        written = self._values.written
        if not _is_plain_form(plain, self._optimizer):
            return {**self._form({}, {}, []), "own": {"whole": written(plain)}}
        numbered = self._numbered(plain["param_groups"])
        like = {key: self._parameters.get(name) for key, name in numbered.items()}
        state = {
            numbered[key]: written(each, like=like[key])
            for key, each in plain["state"].items()
            if key in numbered
        }
        keyed = {k: written(v) for k, v in plain["state"].items() if k not in numbered}
        form = self._form(state, keyed, plain["param_groups"])
        others = {k: written(v) for k, v in plain.items() if k not in ("state", "param_groups")}
        return {**form, "own": others} if others else form

    def _form(
        self, state: dict[str, Any], keyed: dict[Any, Any], groups: list[dict[str, Any]]
    ) -> dict[str, Any]:
        names = self._group_names()
        options = [
            {
                key: self._values.written(each)
                for key, each in group.items()
                if key != "params" and not isinstance(each, _CODE)
            }
            for group in groups or [{} for _ in names]
        ]
        form: dict[str, Any] = {
            "class": type(self._optimizer).__qualname__,
            "state": state,
            "groups": [{**each, "params": own} for each, own in zip(options, names, strict=True)],
        }
        return {**form, "keyed": keyed} if keyed else form

    def _inner(self, form: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the optimisers inside keep that the wrapper's own form lacks."""
        saved = addresses([form["state"], form.get("keyed"), form.get("own")])
        found = {}
        for path, each in inner_optimizers(self._optimizer).items():
            captured = self._form_of(path, each).capture()
            is_shared = each.param_groups is self._optimizer.param_groups
            if addresses([captured["state"], captured.get("keyed"), captured.get("own")]) <= saved:
                captured |= {"state": {}}
                captured.pop("keyed", None)
                captured.pop("own", None)
                if is_shared or "whole" in form.get("own", {}) or gives_its_own(self._optimizer):
                    continue
            found[path] = captured
        return found

    def _form_of(self, path: str, optimizer: Any) -> OptimizerForm:
        return OptimizerForm(f"{self._path}.inner.{path}", optimizer, self._names, self._parameters)

    def _group_names(self) -> list[list[str]]:
        return [[self._name(p) for p in g["params"]] for g in self._optimizer.param_groups]

    def _name(self, parameter: torch.Tensor) -> str:
        """Return a parameter's leaf path; one that was added since the start has none."""
        added = f"added after Run(...), shape {tuple(parameter.shape)}"
        return self._names.get(id(parameter), added)

    def _numbered(self, groups: list[dict[str, Any]]) -> dict[Any, str]:
        """Return the leaf path of each parameter by the number that PyTorch gives it."""
        return {
            number: name
            for group, names in zip(groups, self._group_names(), strict=True)
            for number, name in zip(group["params"], names, strict=True)
        }

    # Comparing

    def differences(self, saved: Any) -> list[str]:
        """Say how a saved form differs in structure from the live object."""
        if not isinstance(saved, dict) or not BASE <= set(saved) <= BASE | LATER:
            return [f"{self._path}: the saved state is not an optimiser's"]
        if saved["class"] != type(self._optimizer).__qualname__:
            return [f"{self._path}: is {type(self._optimizer).__qualname__}, was {saved['class']}"]
        live, groups = self._group_names(), saved["groups"]
        built = saved.get("built")
        before = len(groups) if built is None else len(built)
        if len(live) not in (before, len(groups)):
            return [f"{self._path}: {len(live)} parameter groups, were {before}"]
        found = self._option_differences(saved)
        for i, (names, old) in enumerate(zip(live, groups, strict=False)):
            found += _name_differences(f"{self._path}.groups.{i}", names, old["params"])
        added = [name for old in groups[len(live) :] for name in old["params"]]
        found += [
            f"{self._path}: {name} was added to it while training, and is in no declared model"
            for name in added
            if name not in self._parameters
        ]
        return found + [
            f"{self._path}.state.{name}: surplus in the checkpoint"
            for name in saved["state"]
            if name not in self._parameters
        ]

    def _option_differences(self, saved: Mapping[str, Any]) -> list[str]:
        """Compare the names of the options that the groups were built with; what came later is state."""
        found = []
        built = saved.get("built")
        for i, (live, old) in enumerate(zip(self._built, saved["groups"], strict=False)):
            held = set(old) - {"params"}
            if built is not None and i < len(built):
                born = set(built[i])
                differ = (live ^ born) - (live & held) - self._code(i)
            else:
                differ = (live ^ held) - self._code(i)
            if differ:
                found.append(f"{self._path}.groups.{i}: options differ: {differ}")
        return found

    def _code(self, i: int) -> set[str]:
        group = self._optimizer.param_groups[i]
        return {key for key, each in group.items() if isinstance(each, _CODE)}

    def refusals(self, captured: Mapping[str, Any]) -> list[str]:
        """Say what of a state this object would have refused when the run was set up."""
        names = [group["params"] for group in captured["groups"]]
        if len(names) < len(self._built_names):
            return [f"{self._path}: a parameter group was removed from it while training"]
        found = []
        for i, (old, now) in enumerate(zip(self._built_names, names, strict=False)):
            found += _name_differences(f"{self._path}.groups.{i}", now, old)
        return found + [
            f"{self._path}: a parameter, {name}"
            for each in names[len(self._built_names) :]
            for name in each
            if name not in self._parameters
        ]

    # Restoring

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Put a saved form into the live object.

        Raises:
            StateMismatch: The object's own `load_state_dict()` failed.
        """
        self._add_groups(saved["groups"])
        if takes_its_own(self._optimizer):
            self._restore_its_way(saved)
        else:
            self._restore_groups(saved["groups"])
            self._restore_state(saved)
            if not is_of_torch(self._optimizer):
                # What PyTorch's own load_state_dict() would end with.
                state, groups = self._optimizer.state, self._optimizer.param_groups
                self._optimizer.__setstate__({"state": state, "param_groups": groups})
        for path, each in inner_optimizers(self._optimizer).items():
            if path in saved.get("inner", {}):
                self._form_of(path, each).restore(saved["inner"][path])
        self._restore_attributes(saved.get("attributes", {}))

    def _add_groups(self, groups: list[dict[str, Any]]) -> None:
        for old in groups[len(self._optimizer.param_groups) :]:
            options = self._values.live(old, _at_home)
            parameters = [self._parameters[name] for name in old["params"]]
            self._optimizer.add_param_group({**options, "params": parameters})

    def _restore_groups(self, groups: list[dict[str, Any]]) -> None:
        for group, old in zip(self._optimizer.param_groups, groups, strict=True):
            for key, stored in old.items():
                if key == "params":
                    continue
                live: Any = group.get(key)
                value = self._values.live(stored, _at_home, onto=live)
                if _can_be_copied(live, value):
                    live.copy_(value)  # a tensor rate may be captured by a graph: keep its storage
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
        state.update(self._values.live(saved.get("keyed", {}), self._beside))

    def _on_device(self) -> set[str]:
        """Return the parameters whose step counter lies where they lie."""
        return {
            name
            for group in self._optimizer.param_groups
            if group.get("capturable") or group.get("fused")
            for name in (self._name(p) for p in group["params"])
        }

    def _restore_its_way(self, saved: Mapping[str, Any]) -> None:
        """Give the object what its `state_dict()` gave; then set right what PyTorch's casts changed."""
        try:
            self._optimizer.load_state_dict(self._plain(saved))
        except Exception as error:
            raise StateMismatch(
                f"{self._path} ({type(self._optimizer).__qualname__}) does not take back what its "
                f"state_dict() gave: {type(error).__name__}: {str(error)[:300]}",
                "Its load_state_dict() failed, and the optimiser would go on with half of a state.",
                "Build the optimiser as it was when the run began, with the version of its package "
                "that saved.",
            ) from error
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
                **self._code_options(i),
                **self._values.live({k: v for k, v in group.items() if k != "params"}, _at_home),
                "params": [numbers[name] for name in group["params"]],
            }
            for i, group in enumerate(saved["groups"])
        ]
        keyed = self._values.live(saved.get("keyed", {}), _at_home)
        return {"state": {**state, **keyed}, "param_groups": groups, **own}

    def _code_options(self, i: int) -> dict[str, Any]:
        group = self._optimizer.param_groups[i]
        return {key: group[key] for key in self._code(i)}

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

    def _restore_attributes(self, saved: Mapping[str, Any]) -> None:
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


def _is_simple(state: Any, parameter: torch.Tensor) -> bool:
    """Say whether a parameter's state is a dict of tensors and numbers, as nearly every one is."""
    if type(state) is not dict:
        return False
    lies_plainly = parameter.is_contiguous()
    for each in state.values():
        if type(each) is torch.Tensor:
            if not (lies_plainly and each.is_contiguous()) and not lies_as_expected(
                each, parameter
            ):
                return False
        elif type(each) not in (float, int, bool):
            return False
    return True


def _is_plain_form(plain: Any, optimizer: Any) -> bool:
    """Say whether a state dict is built as PyTorch's, with entries of its own at most beside."""
    if not isinstance(plain, Mapping) or not isinstance(plain.get("state"), Mapping):
        return False
    groups = plain.get("param_groups")
    lengths = [len(each["params"]) for each in optimizer.param_groups]
    return isinstance(groups, list) and lengths == [
        len(each["params"]) if isinstance(each, Mapping) and "params" in each else -1
        for each in groups
    ]


def _name_differences(path: str, names: list[str], old: list[str]) -> list[str]:
    if names == old:
        return []
    changed = [each for each in names if each not in old][:3]
    gone = [each for each in old if each not in names][:3]
    if changed or gone:
        return [f"{path}: parameters differ: new {changed}, gone {gone}"]
    return [f"{path}: the same parameters in another order"]


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


def _under_a_tensor(path: str, key: torch.Tensor) -> NotEncodable:
    return NotEncodable(
        f"{path} keeps state under a tensor of shape {tuple(key.shape)} that is in no declared model.",
        "State is saved by the name of its parameter; this one has none, and would be lost.",
        "Declare the module that owns it to Run(...), or hand over a part that saves it.",
    )
