"""The optimisers that are tried: PyTorch's, and those of packages as far as they are installed."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from typing import Any

import torch
from torch import nn

from support.optimizer_trial import OptimizerTrial, Way

Build = Callable[[nn.Module], Any]
Trials = Iterator[OptimizerTrial]

LEFT_OUT = {
    "distributedmuon": "trains on several processes only",
    "demo": "needs einops and several processes",
    "lorarite": "takes pairs of low-rank factors only",
}
"""What this model can't be trained with, and why."""


def trials_of(package: str, device: str = "cpu") -> list[OptimizerTrial]:
    """Return the trials of a package's optimisers; none where it is not installed."""
    if importlib.util.find_spec(package) is None:
        return []
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        trials = [replace(trial, device=device) for trial in PACKAGES[package]()]
    return trials if device == "cpu" else trials + ONLY_ON_A_CARD.get(package, [])


def _over(make: Any, **options: Any) -> Build:
    return lambda model: make(model.parameters(), **options)


def _in(make: Any, groups: Callable[[nn.Module], Any], **options: Any) -> Build:
    return lambda model: make(groups(model), **options)


def _around(make: Any, inner: Any, **options: Any) -> Build:
    return lambda model: make(inner(model.parameters(), lr=1e-2), **options)


def _sparse_adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SparseAdam([model.get_parameter("table.weight")], lr=0.1)


def _torch() -> Trials:
    sparse: dict[str, Any] = {"sparse": True}
    given: dict[str, dict[str, Any]] = {
        "LBFGS": {"way": "closure"}, "Muon": {"matrices": True}, "SparseAdam": sparse,
    }  # fmt: skip
    for name in sorted(torch.optim.__all__):
        kind = getattr(torch.optim, name)
        if not isinstance(kind, type) or kind is torch.optim.Optimizer:
            continue
        build = _sparse_adam if name == "SparseAdam" else _over(kind)
        yield OptimizerTrial(name=name, build=build, **given.get(name, {}))
    yield OptimizerTrial(
        name="SGD, sparse gradients", build=_over(torch.optim.SGD, lr=0.1), **sparse
    )
    yield OptimizerTrial(
        name="Adagrad, sparse gradients", build=_over(torch.optim.Adagrad), **sparse
    )
    adamw = torch.optim.AdamW
    for option in ("fused", "amsgrad", "foreach"):
        yield OptimizerTrial(name=f"AdamW({option}=True)", build=_over(adamw, **{option: True}))
    yield OptimizerTrial(
        name="AdamW(lr=tensor)", build=_over(adamw, lr=torch.tensor(1e-2), foreach=False)
    )


def _pytorch_optimizer() -> Trials:
    package = importlib.import_module("pytorch_optimizer")
    by_kind = {"adago", "adamuon", "muon", "muonclip", "normuon"}
    ways: dict[str, Way] = {
        "adahessian": "graph", "sophiah": "graph", "alig": "closure", "lbfgs": "closure", "bsam": "closure",
        "lomo": "fused backward", "adalomo": "fused backward",
    }  # fmt: skip
    options: dict[str, dict[str, Any]] = {
        "bsam": {"num_data": 64, "foreach": False}, "ranger21": {"num_iterations": 20},
        "adashift": {"keep_num": 3},
    }  # fmt: skip
    for name in package.get_supported_optimizers():
        if name in LEFT_OUT:
            continue
        kind = package.load_optimizer(name)
        if name in ("lomo", "adalomo", "adammini"):
            build = kind
        elif name == "magma":
            build = _around(kind, torch.optim.AdamW)
        elif name in by_kind:
            build = _in(kind, _by_kind)
        else:
            build = _over(kind, **options.get(name, {}))
        yield OptimizerTrial(
            name=kind.__name__,
            build=build,
            way=ways.get(name, "plain"),
            matrices=name == "spectralsphere",
        )
    adam, sgd = torch.optim.Adam, torch.optim.SGD
    wrapped: dict[str, Build] = {
        "Lookahead": lambda model: package.Lookahead(adam(model.parameters()), k=2),
        "OrthoGrad": lambda model: package.OrthoGrad(adam(model.parameters())),
        "TRAC": lambda model: package.TRAC(adam(model.parameters())),
        "ScheduleFreeWrapper": lambda model: package.ScheduleFreeWrapper(
            sgd(model.parameters(), lr=0.1, momentum=0.9)
        ),
    }
    for name, build in wrapped.items():
        yield OptimizerTrial(name=f"{name} around another", build=build)
    yield OptimizerTrial(
        name="SAM around another",
        build=lambda model: package.SAM(model.parameters(), adam),
        way="two passes",
    )
    yield OptimizerTrial(
        name="Lookahead around GaLore with rank",
        build=lambda model: package.Lookahead(package.GaLore(_low_rank(model), lr=1e-2), k=2),
    )
    for name in ("GaLore", "Fira", "APOLLO"):
        kind = getattr(package, name)
        yield OptimizerTrial(
            name=f"{name} with rank",
            build=_in(kind, _low_rank, lr=1e-2),
        )


def _by_kind(model: nn.Module) -> list[dict[str, Any]]:
    matrices = [each for each in model.parameters() if each.ndim == 2]
    others = [each for each in model.parameters() if each.ndim != 2]
    return [{"params": matrices, "use_muon": True}, {"params": others, "use_muon": False}]


def _low_rank(model: nn.Module) -> list[dict[str, Any]]:
    matrices = [each for each in model.parameters() if each.ndim == 2]
    others = [each for each in model.parameters() if each.ndim != 2]
    low = {"params": matrices, "rank": 2, "update_proj_gap": 3, "scale": 0.25}
    return [{"params": others}, {**low, "proj_type": "std", "projection_type": "std"}]


def _prodigyopt() -> Trials:
    package = importlib.import_module("prodigyopt")
    yield OptimizerTrial(name="Prodigy", build=_over(package.Prodigy))
    yield OptimizerTrial(name="Prodigy(slice_p=3)", build=_over(package.Prodigy, slice_p=3))


def _schedulefree() -> Trials:
    package = importlib.import_module("schedulefree")
    for name in ("AdamWScheduleFree", "SGDScheduleFree", "RAdamScheduleFree",
                 "AdamWScheduleFreeReference", "SGDScheduleFreeReference", "AdamWScheduleFreePaper"):  # fmt: skip
        if hasattr(package, name):
            yield OptimizerTrial(name=name, build=_over(getattr(package, name), lr=1e-2))
    for name in ("AdamWScheduleFreeClosure", "SGDScheduleFreeClosure", "RAdamScheduleFreeClosure"):
        kind = getattr(package, name)
        yield OptimizerTrial(name=name, build=_over(kind, lr=1e-2), way="closure")
    for name in ("ScheduleFreeWrapper", "ScheduleFreeWrapperReference"):
        kind = getattr(package, name)
        yield OptimizerTrial(
            name=f"{name} around SGD",
            build=_around(kind, torch.optim.SGD, momentum=0.9),
        )


def _lion_pytorch() -> Trials:
    yield OptimizerTrial(name="Lion", build=_over(importlib.import_module("lion_pytorch").Lion))


def _adam_mini() -> Trials:
    kind = importlib.import_module("adam_mini").Adam_mini
    yield OptimizerTrial(
        name="Adam_mini",
        build=lambda model: kind(model.named_parameters(), dim=8, n_heads=2, verbose=False),
    )


def _galore_torch() -> Trials:
    package = importlib.import_module("galore_torch")
    for name in ("GaLoreAdamW", "GaLoreAdafactor"):
        kind = getattr(package, name)
        yield OptimizerTrial(name=name, build=_in(kind, _low_rank))


def _transformers() -> Trials:
    kind = importlib.import_module("transformers.optimization").Adafactor
    yield OptimizerTrial(name="Adafactor", build=_over(kind))
    yield OptimizerTrial(
        name="Adafactor(lr=1e-3)",
        build=_over(kind, lr=1e-3, relative_step=False, scale_parameter=False, beta1=0.9),
    )


def _bitsandbytes() -> Trials:
    package = importlib.import_module("bitsandbytes.optim")
    for name in ("Adam8bit", "AdamW8bit", "Lion8bit", "SGD8bit", "RMSprop8bit", "Adagrad8bit",
                 "AdEMAMix8bit", "LAMB8bit", "LARS8bit", "Adam32bit", "AdamW", "Lion"):  # fmt: skip
        more = {"momentum": 0.9} if name in ("SGD8bit", "LARS8bit") else {}
        small = {} if name in ("AdamW", "Lion") else {"min_8bit_size": 1}
        if "32" in name:
            small = {}
        yield OptimizerTrial(
            name=name, build=_over(getattr(package, name), lr=1e-2, **more, **small)
        )


PACKAGES: dict[str, Callable[[], Trials]] = {
    "torch": _torch,
    "pytorch_optimizer": _pytorch_optimizer,
    "prodigyopt": _prodigyopt,
    "schedulefree": _schedulefree,
    "lion_pytorch": _lion_pytorch,
    "adam_mini": _adam_mini,
    "galore_torch": _galore_torch,
    "transformers": _transformers,
    "bitsandbytes": _bitsandbytes,
}
"""By the name that is imported."""

ONLY_ON_A_CARD: dict[str, list[OptimizerTrial]] = {
    "torch": [
        OptimizerTrial(
            name=f"{kind.__name__}({', '.join(f'{name}={each}' for name, each in options.items())})",
            build=_over(kind, **options),
            device="cuda",
        )
        for kind, options in (
            (torch.optim.Adam, {"capturable": True}),
            (torch.optim.AdamW, {"capturable": True, "fused": True}),
            (torch.optim.RMSprop, {"capturable": True}),
            (torch.optim.SGD, {"fused": True, "momentum": 0.9}),
        )
    ]
}
"""Options that need a card, by package."""
