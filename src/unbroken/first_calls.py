"""The first calls of torch's vector functions, made once by one thread.

At its first call Intel's Vector Math Library, which torch's builds for x86 bring along, finds out
which of its kernels suit the processor, and stores its answer in two goes, without a lock. A second
thread that comes in between takes a kernel of low accuracy: on a busy machine the first step of a
training then has other bits in some starts (docs/decisions/0012-first-calls.md). Once the answer
is stored, any number of threads may call.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Final

VECTOR_FUNCTIONS: Final = (
    "acos", "asin", "atan", "cos", "erf", "erfc", "erfinv", "exp", "expm1", "log", "log10",
    "log1p", "log2", "rsqrt", "sigmoid", "sin", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
"""Names in `torch` of the functions called: those of the library, and their nearest relatives."""

DTYPES: Final = ("float32", "float64", "bfloat16")
"""Names in `torch` of the dtypes they are called with."""


@cache
def make_first_calls() -> None:
    """Call each vector function with one number, which torch computes in the calling thread.

    Draws nothing at random and leaves nothing behind; a second call does nothing.
    """
    import torch  # noqa: PLC0415  # this module is imported where torch may not be wanted

    with torch.no_grad():
        for dtype in DTYPES:
            one = torch.full((1,), 0.5, dtype=getattr(torch, dtype), device="cpu")
            for name in VECTOR_FUNCTIONS:
                getattr(torch, name)(one)
            one.pow(1.5)


def make_first_calls_with_torch() -> None:
    """Make them now if torch is loaded, else right after it is; torch isn't loaded for them."""
    if "torch" in sys.modules:
        make_first_calls()
    else:
        sys.meta_path.insert(0, _AfterTorch())


class _AfterTorch(MetaPathFinder):
    """Leaves the import of torch to those who do it, and makes the first calls at its end."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return torch's spec with a loader that makes the first calls; None for other modules."""
        del path, target
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_call(module: ModuleType) -> None:
            load(module)
            make_first_calls()

        spec.loader.exec_module = load_and_call  # type: ignore[method-assign]  # of this one loader
        return spec
