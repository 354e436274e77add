"""The saved form of an optimiser: made of the live object, compared with it, and put back into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch

from unbroken.errors import NotEncodable
from unbroken.state.optimizer_attributes import OptimizerAttributes, addresses
from unbroken.state.optimizer_restore import RestoreWay
from unbroken.state.optimizer_values import OptimizerValues, lies_as_expected
from unbroken.state.own_ways import (
    code_options,
    gives_its_own,
    inner_optimizers,
    is_code,
    is_of_torch,
    takes_its_own,
)
from unbroken.state.shared_tensors import overlapping, shared_places

OPTIMIZER_KEYS: Final = {"class", "state", "groups"}
"""What every saved optimiser has; a checkpoint of an early version has nothing else."""
LATER: Final = {"built", "keyed", "own", "attributes", "inner", "shared"}


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
        self._attributes = OptimizerAttributes(optimizer, self._values.written, names)
        self._built = [set(group) - {"params"} for group in optimizer.param_groups]
        self._built_names = self._group_names()

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
        form = self._form(state, keyed, self._optimizer.param_groups)
        if shared := shared_places(state):
            form["shared"] = shared
        return form

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
                if key != "params" and not is_code(each)
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
        inside = inner_optimizers(self._optimizer)
        if not inside:  # of a large model the addresses take as long as all else
            return {}
        saved = addresses([form["state"], form.get("keyed"), form.get("own")])
        found = {}
        for path, each in inside.items():
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
        known = self._names.get(id(parameter))  # a lazy module's parameter has no shape yet
        return known or f"added after Run(...), shape {tuple(parameter.shape)}"

    def _numbered(self, groups: list[dict[str, Any]]) -> dict[Any, str]:
        """Return the leaf path of each parameter by the number that PyTorch gives it."""
        return {
            number: name
            for group, names in zip(groups, self._group_names(), strict=True)
            for number, name in zip(group["params"], names, strict=True)
        }

    def differences(self, saved: Any) -> list[str]:
        """Say how a saved form differs in structure from the live object."""
        if (
            not isinstance(saved, dict)
            or not OPTIMIZER_KEYS <= set(saved) <= OPTIMIZER_KEYS | LATER
        ):
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
                differ = (live ^ born) - (live & held) - code_options(self._optimizer, i).keys()
            else:
                differ = (live ^ held) - code_options(self._optimizer, i).keys()
            if differ:
                found.append(f"{self._path}.groups.{i}: options differ: {differ}")
        return found

    def refusals(self, captured: Mapping[str, Any]) -> list[str]:
        """Say what of a state this object would have refused when the run was set up."""
        names = [group["params"] for group in captured["groups"]]
        if len(names) < len(self._built_names):
            return [f"{self._path}: a parameter group was removed from it while training"]
        found = []
        for i, (old, now) in enumerate(zip(self._built_names, names, strict=False)):
            found += _name_differences(f"{self._path}.groups.{i}", now, old)
        if not takes_its_own(self._optimizer):
            found += [
                f"{self._path}.state.{one} and {other} are views of one buffer, and would be restored apart"
                for one, other in overlapping(captured["state"])[:3]
            ]
        return found + [
            f"{self._path}: a parameter, {name}"
            for each in names[len(self._built_names) :]
            for name in each
            if name not in self._parameters
        ]

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Put a saved form into the live object.

        Raises:
            StateMismatch: The object's own `load_state_dict()` failed.
        """
        way = RestoreWay(self._path, self._optimizer, self._parameters, self._values)
        way.restore(saved)
        for path, each in inner_optimizers(self._optimizer).items():
            if path in saved.get("inner", {}):
                self._form_of(path, each).restore(saved["inner"][path])
        way.restore_attributes(saved.get("attributes", {}))


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


def _under_a_tensor(path: str, key: torch.Tensor) -> NotEncodable:
    return NotEncodable(
        f"{path} keeps state under a tensor of shape {tuple(key.shape)} that is in no declared model.",
        "State is saved by the name of its parameter; this one has none, and would be lost.",
        "Declare the module that owns it to Run(...), or hand over a part that saves it.",
    )
