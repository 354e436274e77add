"""The expected state of a restored run in which new values were accepted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from unbroken.checks.declared_values import with_new_values
from unbroken.checks.optimizer_options_unchanged import changed_options
from unbroken.checks.schedule_settings import changed_settings
from unbroken.checks.state_summary import StateSummary, is_below

RATES = (".lr", ".initial_lr", ".max_lr", ".min_lr")
"""Entries of a group that follow from its schedule."""


def expected_state(
    saved: StateSummary, built: StateSummary, live: StateSummary, taken: Collection[str]
) -> StateSummary:
    """Return the saved run with the accepted new values in place of the saved ones.

    Args:
        saved: As it was.
        built: As the code built it, before anything was restored.
        live: As it stands; its rates are held against the schedule by a check of their own.
        taken: Ids of the checks whose new value acts.
    """
    saved = with_new_values(saved, built, live)
    values: dict[str, Any] = dict(saved.values)
    changed = changed_options(saved, built)
    optimizers = saved.of_kind("optimizer")
    if "schedule-unchanged" in taken:
        for path in changed_settings(saved, built):
            values.pop(path, None)
            values |= {path: built.values[path]} if path in built.values else {}
    for path in saved.values.keys() & built.values.keys():
        if is_below(path, optimizers) and ".groups." in path:
            if "optimizer-options-unchanged" in taken and path in changed:
                values[path] = built.values[path]
            elif path.endswith(RATES):
                new = live.values.get(path) if "schedule-unchanged" in taken else values[path]
                values[path] = new
    evidence = dict(saved.evidence)
    if "optimizer-options-unchanged" in taken and any(path.endswith(".lr") for path in changed):
        evidence["rates"] = live.evidence.get("rates", {})
    return replace(saved, values=values, evidence=evidence)
