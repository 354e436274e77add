"""Two passes from the same state: does this model, on this machine, compute the same bits twice?

The passes are made by copies of the model that are thrown away, so that nothing of the run changes:
no statistic, no counter, no gradient, no generator.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from unbroken.replay.noise import Noise
from unbroken.state.randomness import GeneratorStates
from unbroken.tree import map_leaves

Tensors = list[torch.Tensor]

ROOM = 4
"""How many times the size of its parameters a measuring needs: a copy, two gradients, and some over."""


ORIGINAL = "_orig_mod"
"""What `torch.compile` calls the module in its wrapper; asking torch for the wrapper takes seconds."""


class NotMeasurable(Exception):
    """The passes can't be made; its text says why."""


def noise_of(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Noise:
    """Return how far two passes of a model lie apart; the generators stay as they are.

    Args:
        model: Called by the loop, in its mode; nothing of it is changed.
        args: What it is called with.
        kwargs: The same by name.

    Raises:
        NotMeasurable: There is no room, or the model can't be copied or gives nothing to go back from.
    """
    try:
        _require_uncompiled(model)
        _require_room(model)
        outputs, gradient = _distance(model, args, kwargs)
        if not max(outputs, gradient) or torch.are_deterministic_algorithms_enabled():
            return Noise(outputs=outputs, gradient=gradient)
        helps = _repeats_deterministically(model, args, kwargs)
        return Noise(outputs=outputs, gradient=gradient, deterministic_repeats=helps)
    except NotMeasurable:
        raise
    except Exception as error:  # whatever the copy of a foreign model raises, the run is whole
        told = str(error).strip().partition("\n")[0][:200]
        raise NotMeasurable(f"{type(error).__name__}: {told}") from error


def _distance(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[float, float]:
    generators = GeneratorStates.capture()
    with _uncached_casts(), torch.enable_grad():
        try:
            first = _pass(model, args, kwargs)
            generators.put_back()
            second = _pass(model, args, kwargs)
        finally:
            generators.put_back()
    return _apart(first[0], second[0]), _apart(first[1], second[1])


def _pass(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Tensors, Tensors]:
    """Return outputs and gradients of one pass forward and backward, made by a copy of the model.

    Backward it goes as if the loss were half the square of each output plus one: nothing that a
    model returns makes all of that zero.
    """
    one = copy.deepcopy(model)
    if not {id(each) for each in model.parameters()}.isdisjoint(map(id, one.parameters())):
        raise NotMeasurable("a copy of it shares its parameters")
    parameters = [each for each in one.parameters() if each.requires_grad]
    for parameter in parameters:
        parameter.grad = None
    given = map_leaves([list(args), dict(kwargs)], lambda _, each: _apart_from_its_graph(each))
    found = [each for each in _tensors(one(*given[0], **given[1])) if each.requires_grad]
    if not found:
        raise NotMeasurable("the model returns no tensor to go backward from")
    loss = torch.stack([(each.float() + 1).square().sum() / 2 for each in found]).sum()
    loss.backward(inputs=parameters)
    return [each.detach() for each in found], [
        each.grad for each in parameters if each.grad is not None
    ]


def _apart_from_its_graph(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().clone().requires_grad_(value.requires_grad)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the floating-point tensors in what a model returned."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _tensors(getattr(value, field.name))


def _apart(first: Tensors, second: Tensors) -> float:
    """Return the norm of the difference, relative to that of the first."""
    if len(first) != len(second):
        raise NotMeasurable("the passes give another number of tensors")
    if all(torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        return 0.0
    size = _norm(first)
    apart = _norm([a - b for a, b in zip(first, second, strict=True)])
    if not size or not torch.isfinite(torch.tensor([size, apart])).all():
        raise NotMeasurable("the passes are not finite")
    return apart / size


def _norm(tensors: Tensors) -> float:
    return float(sum(float(each.float().norm()) ** 2 for each in tensors) ** 0.5)


def _repeats_deterministically(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> bool:
    mode = torch.get_deterministic_debug_mode()
    torch.use_deterministic_algorithms(mode=True)
    try:
        return not any(_distance(model, args, kwargs))
    except RuntimeError:  # an operation has no deterministic implementation
        return False
    finally:
        torch.set_deterministic_debug_mode(mode)


@contextmanager
def _uncached_casts() -> Iterator[None]:
    """Keep autocast from holding on to the casts of copies."""
    was = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(was)


def _require_uncompiled(model: nn.Module) -> None:
    for path, each in model.named_modules():
        is_wrapper = path.rpartition(".")[2] == ORIGINAL
        if is_wrapper or getattr(each, "_compiled_call_impl", None) is not None:
            raise NotMeasurable("it is compiled, and a copy of it would not be")


def has_compiled_wrapper(model: nn.Module) -> bool:
    """Say whether `torch.compile(model)` was called; a hook of the model would be compiled as well."""
    return _was_anything_compiled() and any(
        type(each) is dict and each.get(ORIGINAL) is model for each in gc.get_referrers(model)
    )


def _was_anything_compiled() -> bool:
    """Say whether this process compiled anything; asking who refers to a model takes 50 ms and more.

    A torch that doesn't tell its compilers counts as one that may have compiled.
    """
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    return compiler is not None and any(getattr(compiler, "cached_backends", {0: True}).values())


def _require_room(model: nn.Module) -> None:
    size = sum(each.numel() * each.element_size() for each in model.parameters() if each.is_cuda)
    if size and ROOM * size > torch.cuda.mem_get_info()[0]:
        raise NotMeasurable("the device has no room for a copy of the model and its gradients")
