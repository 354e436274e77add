"""Optimisers as a part: their state by parameter name, never by position.

PyTorch numbers parameters; two of equal shape that changed places would swap their moments without
a word. Here each group lists names, and each parameter's state stands under its name.

What an object's own `state_dict()` and `load_state_dict()` do is the authority. Where both are
PyTorch's, the state is read from where it lies and streamed back to it; where a class, an object or
a hook has its own way, that way is gone, and what it gives back is compared with what was saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from unbroken.errors import NotEncodable
from unbroken.state.codec import decode, encode
from unbroken.state.optimizer_form import OptimizerForm
from unbroken.state.optimizer_twin import Twin
from unbroken.state.own_ways import is_of_torch, is_optimizer, takes_its_own
from unbroken.tree import leaves

__all__ = ["OptimizerPart", "is_optimizer"]

ELEMENTWISE = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
"""What the optimisers of PyTorch itself keep in the shape of the parameter."""


class OptimizerPart:
    """The state of one optimiser.

    Args:
        name: The part's name.
        optimizer: The optimiser, built over parameters of the declared modules.
        declared: Every parameter of the declared modules by its leaf path.

    Raises:
        NotEncodable: A parameter of the optimiser belongs to no declared module, and the optimiser
            doesn't save it either.
    """

    def __init__(
        self, name: str, optimizer: torch.optim.Optimizer, declared: Mapping[str, torch.Tensor]
    ) -> None:
        self.name = name
        self.optimizer = optimizer
        self.names = {id(each): path for path, each in declared.items()}
        """The leaf path of each parameter that the optimiser may hold, by its identity."""
        self._tensors = dict(declared)
        self._name_those_of_its_own(declared)
        self._form = OptimizerForm(name, optimizer, self.names, self._tensors)
        self._twin = Twin.of(optimizer, self._tensors) if takes_its_own(optimizer) else None

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """The parameters in the optimiser's groups, by leaf path."""
        return {
            self.names[id(each)]: each
            for group in self.optimizer.param_groups
            for each in group["params"]
            if id(each) in self.names
        }

    def capture(self) -> dict[str, Any]:
        """Return the optimiser's `class`, `state` by parameter name, `groups` of options and names.

        `built` lists the options that each group had when the run was set up: what came later is
        state. Where there is any, `keyed` holds state under keys that are no parameters, `own` what
        else its `state_dict()` gives, `attributes` those that have changed, `inner` the optimisers
        inside whose state the wrapper doesn't give.

        Raises:
            NotEncodable: The optimiser keeps state under a tensor that is no parameter.
        """
        return self._form.capture()

    def in_groups_of(self, saved: Any) -> dict[str, torch.Tensor]:
        """Return the parameters in the groups of a saved state that it may hold, by leaf path."""
        groups = saved["groups"] if isinstance(saved, dict) and "groups" in saved else []
        names = [name for group in groups for name in group["params"]]
        return {name: self._tensors[name] for name in names if name in self._tensors}

    def moments(self) -> list[str]:
        """Return the leaf paths of the state that has its parameter's shape; no counters."""
        if takes_its_own(self.optimizer):
            return []
        return [
            f"{self.name}.state.{name}.{key}"
            for name, parameter in self.parameters.items()
            for key, each in _entries(self.optimizer.state.get(parameter))
            if isinstance(each, torch.Tensor) and each.dim() and each.shape == parameter.shape
        ]

    @property
    def elementwise(self) -> tuple[str, ...]:
        """Names of the state that must have its parameter's shape."""
        return ELEMENTWISE if is_of_torch(self.optimizer) else ()

    @property
    def is_switched(self) -> bool:
        """Whether it has put other weights into the model than those that it trains.

        Schedule-free optimisers do so in `eval()`, and take it back in `train()`; they note the mode
        as `train_mode`, in their groups or as an attribute.
        """
        if not callable(getattr(self.optimizer, "train", None)):
            return False
        modes = [group.get("train_mode") for group in self.optimizer.param_groups]
        return False in (*modes, getattr(self.optimizer, "train_mode", None))

    @contextmanager
    @torch.no_grad()
    def switched_to_training(self) -> Iterator[None]:
        """Stand as after the optimiser's own `train()`; everything is put back at the end."""
        tensors: dict[str, torch.Tensor] = {}
        form = encode(self.capture(), self.name, tensors)
        state = decode(form, {path: each.clone() for path, each in tensors.items()})
        weights = {name: each.detach().clone() for name, each in self.parameters.items()}
        try:
            self.optimizer.train()  # type: ignore[attr-defined]  # `is_switched` has looked
            yield
        finally:
            for name, each in weights.items():
                self._tensors[name].copy_(each)
            self.restore(state)

    def without_state(self) -> list[str]:
        """Return the parameters that the optimiser keeps nothing for."""
        if not takes_its_own(self.optimizer):
            held = self.optimizer.state
            return [name for name, each in self.parameters.items() if _is_nothing(held.get(each))]
        state = self.capture()["state"]
        return [name for name in self.parameters if _is_nothing(state.get(name))]

    def steps(self) -> float | None:
        """Return the largest step counter that it keeps for a parameter; None where it keeps none."""
        held = getattr(self.optimizer, "state", {}).values()
        counters = [each["step"] for each in held if isinstance(each, Mapping) and "step" in each]
        numbers = [float(each) for each in counters if isinstance(each, int | float)]
        alike: dict[Any, list[torch.Tensor]] = {}
        for each in counters:
            if isinstance(each, torch.Tensor) and each.numel() == 1:
                alike.setdefault((each.device, each.dim()), []).append(each)
        numbers += [torch.stack(each).max().item() for each in alike.values()]
        return max(numbers, default=None)

    def differences(self, saved: Any) -> list[str]:
        """Compare class, groups, names, options' names, and the shapes of elementwise state."""
        found = self._form.differences(saved)
        if not found:
            for name, each in saved["state"].items():
                found.extend(self._shape_differences(name, each))
        return found

    def _shape_differences(self, name: str, saved: Any) -> list[str]:
        if is_lazy(self._tensors[name]):
            return []
        shape = self._tensors[name].shape
        return [
            f"{self.name}.state.{name}.{key}: shape {tuple(saved[key].shape)}, parameter {tuple(shape)}"
            for key in self.elementwise
            if key in saved and getattr(saved[key], "shape", shape) != shape
        ]

    def refusals(self, captured: Any) -> list[str]:
        """Say what of a state the objects would refuse as they were when the run was set up."""
        found = self._form.refusals(captured)
        return found or (self._twin.refusals(captured) if self._twin else [])

    def restore(self, saved: Any) -> None:
        """Set options and state; dtypes stay as saved, devices follow the parameters.

        Raises:
            StateMismatch: The optimiser's own `load_state_dict()` failed.
        """
        self._form.restore(saved)

    def _name_those_of_its_own(self, declared: Mapping[str, torch.Tensor]) -> None:
        """Name the parameters of no declared module that the optimiser saves itself; refuse others."""
        foreign = [
            each
            for group in self.optimizer.param_groups
            for each in group["params"]
            if id(each) not in self.names
        ]
        if not foreign:
            return
        plain = self.optimizer.state_dict() if takes_its_own(self.optimizer) else {}
        saved = [each for _, each in leaves(plain) if isinstance(each, torch.Tensor)]
        for number, parameter in enumerate(foreign):
            same = [i for i, each in enumerate(saved) if _is_copy(each, parameter)]
            if not same:
                raise _foreign(self.name, self.optimizer, parameter, declared)
            del saved[same[0]]
            path = f"{self.name}.own.{number}"
            self.names[id(parameter)] = path
            self._tensors[path] = parameter


def _entries(state: Any) -> Iterable[tuple[Any, Any]]:
    """Return what an optimiser keeps for a parameter by name, where it is a dict."""
    return state.items() if isinstance(state, Mapping) else ()


def _is_nothing(state: Any) -> bool:
    """Say whether an optimiser keeps nothing for a parameter: mostly it is a dict, but need not be."""
    return state is None or (isinstance(state, Mapping) and not state)


def _is_copy(saved: torch.Tensor, parameter: torch.Tensor) -> bool:
    is_like = (saved.shape, saved.dtype) == (parameter.shape, parameter.dtype)
    return is_like and torch.equal(saved.to(parameter.device), parameter)


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
        "replaced (moved, cast, rebuilt) after the optimiser was built with the old one, or the "
        "optimiser keeps a copy of its own and does not save it.",
        "The optimiser would update the old parameter, and never the one that the model uses.",
        "Build the optimiser when the model is finished; or declare the module that owns the "
        "parameter to Run(...).",
    )
