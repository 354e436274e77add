"""What users test their own training with: exact resumes, and deaths at a moment that is named."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from unbroken.testing.exact_resume import assert_resume_is_exact
    from unbroken.testing.sudden_kill import kill_at

__all__ = ["assert_resume_is_exact", "kill_at"]

# Imported when first used: they need torch, the disk calls beside them do not.
_LAZY: Final = {
    "assert_resume_is_exact": "unbroken.testing.exact_resume",
    "kill_at": "unbroken.testing.sudden_kill",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module it lives in."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
