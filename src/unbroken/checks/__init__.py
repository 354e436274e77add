"""The checks of a resume. To add your own, pass `Run(checks=[...])`.

Subclass `Check`, or declare facts with `FactCheck`; compare two `StateSummary`, and return
`agrees(...)`, `differs(...)` or `cannot_compare(...)`. docs/library.md has an example.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from unbroken.checks.advice import Advice
    from unbroken.checks.catalogue import every_check, require_known
    from unbroken.checks.check import (
        Check,
        CheckOutcome,
        CheckResult,
        Difference,
        OnAccept,
        Severity,
        Stage,
        agrees,
        cannot_compare,
        differs,
        wrong_examples,
    )
    from unbroken.checks.decision import Decision, decide
    from unbroken.checks.fact_check import FactCheck
    from unbroken.checks.report import Finding, Report, examine
    from unbroken.checks.root_cause import Consequences
    from unbroken.checks.state_summary import Leaf, StateSummary

__all__ = [
    "Advice",
    "Check",
    "CheckOutcome",
    "CheckResult",
    "Consequences",
    "Decision",
    "Difference",
    "FactCheck",
    "Finding",
    "Leaf",
    "OnAccept",
    "Report",
    "Severity",
    "Stage",
    "StateSummary",
    "agrees",
    "cannot_compare",
    "decide",
    "differs",
    "every_check",
    "examine",
    "require_known",
    "wrong_examples",
]

# Imported on first use, because they import torch.
_MODULES: Final = {
    "advice": ("Advice",),
    "catalogue": ("every_check", "require_known"),
    "check": (
        "Check",
        "CheckOutcome",
        "CheckResult",
        "Difference",
        "OnAccept",
        "Severity",
        "Stage",
        "agrees",
        "cannot_compare",
        "differs",
        "wrong_examples",
    ),
    "decision": ("Decision", "decide"),
    "fact_check": ("FactCheck",),
    "report": ("Finding", "Report", "examine"),
    "root_cause": ("Consequences",),
    "state_summary": ("Leaf", "StateSummary"),
}
_LAZY: Final = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
