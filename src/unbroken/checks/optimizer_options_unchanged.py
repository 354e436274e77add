"""The optimiser is built with the options it was saved with.

Compares: weight decay, betas, eps and all other options of each group, as the code built them now
and as they were saved; learning rates have a check of their own.

Why: loading silently overrules what the code asks for; the person who changed it never learns.

Does not: compare the class; the alignment does.
"""

from __future__ import annotations

from typing import ClassVar

from unbroken.checks.check import Check, OnAccept, Severity, Stage, Verdict, agrees, differs
from unbroken.checks.observation import Observation


class OptimizerOptionsUnchanged(Check):
    """The optimiser's options are the saved ones."""

    id: ClassVar[str] = "optimizer-options-unchanged"
    title: ClassVar[str] = "The optimiser's options are the saved ones"
    severity: ClassVar[Severity] = Severity.WARNING
    on_accept: ClassVar[OnAccept] = OnAccept.TAKE_NEW
    keeps_saved: ClassVar[bool] = True
    stage: ClassVar[Stage] = Stage.BEFORE
    follows_from: ClassVar[tuple[str, ...]] = ("settings-unchanged",)
    why: ClassVar[str] = (
        "The checkpoint's options overrule what the code asks for: a change would not act."
    )
    cause: ClassVar[str] = "Weight decay, betas or eps were changed in the code or the settings."
    remedy: ClassVar[str] = "Nothing need be done to keep the saved ones."
    AGREES: ClassVar = (
        (
            Observation(kinds={"o": "optimizer"}, values={"o.groups.0.weight_decay": 0.01}),
            Observation(kinds={"o": "optimizer"}, values={"o.groups.0.weight_decay": 0.01}),
        ),
    )
    DIFFERS: ClassVar = (
        (
            Observation(kinds={"o": "optimizer"}, values={"o.groups.0.weight_decay": 0.01}),
            Observation(kinds={"o": "optimizer"}, values={"o.groups.0.weight_decay": 0.1}),
        ),
    )

    def compare(self, saved: Observation, live: Observation) -> Verdict:
        """Compare the options that both sides have."""
        roots = tuple(f"{part}.groups." for part in live.of_kind("optimizer"))
        both = [
            path
            for path in live.values.keys() & saved.values.keys()
            if path.startswith(roots) and not _is_elsewhere(path)
        ]
        details = [
            f"{path}: is {live.values[path]}, was {saved.values[path]}"
            for path in sorted(both)
            if repr(live.values[path]) != repr(saved.values[path])
        ]
        if details:
            return differs(details[0] if len(details) == 1 else f"{len(details)} differ", *details)
        return agrees(f"{len(both)} options")


def _is_elsewhere(path: str) -> bool:
    return ".params" in path or path.endswith((".lr", ".initial_lr"))
