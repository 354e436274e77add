"""What users test their own training with: recorded disk calls, crash points, exact resumes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unbroken.testing.exact_resume import assert_resume_is_exact

__all__ = ["assert_resume_is_exact"]


def __getattr__(name: str) -> Any:
    """Import the public function when it is first used: it needs torch, the rest does not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("unbroken.testing.exact_resume"), name)
