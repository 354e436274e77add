"""From variables to a run: what is found becomes its parts, and a table tells it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from unbroken.checks import Advice
from unbroken.loaders.found_generators import generators_in
from unbroken.protection import refusals
from unbroken.protection.begun_anew import begun_anew
from unbroken.protection.carried import Carried, carried
from unbroken.protection.chosen_loader import chosen_loader, is_over, require_no_iterator, resolved
from unbroken.protection.found import Found, FoundObjects, find
from unbroken.protection.kept_table import KeptTable
from unbroken.protection.protected_run import ProtectedRun
from unbroken.protection.rewritten import Source
from unbroken.protection.table import table
from unbroken.run.by_itself import be_heard

FIRST_ROUND: Final = "first_round"
"""The fact with what the loop begins."""
SAY: Final = {
    "order-unchanged": Advice(
        cause="The program was seeded otherwise, or the loader has another sampler.",
        remedy="Give the loader the run's sampler, and call torch.manual_seed() as the run did before the "
        "loop, or give protect(seed=...) its seed.",
    ),
    "other-facts-unchanged": Advice(
        remedy="Give the loader, and `facts=`, as the run had them. The loop has to begin with the same "
        "round at each start, for those that are done are left out: take out a resume of the program's "
        'own. New values are used with protect(accept=["other-facts-unchanged"]).',
    ),
}
"""What somebody who wrote `protect` can do about a finding."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """What was found, before anything is written."""

    source: Source
    found: FoundObjects
    loader: Found | None
    """Whose batches the loop trains on; None where it draws its own."""
    carried: Carried
    is_one_pass: bool
    """Whether the rounds of the loop are the loader's batches themselves."""


def set_up(source: Source, variables: Mapping[str, Any], data: str) -> SetUp:
    """Return what is found.

    Args:
        source: The loop.
        variables: When it begins.
        data: The loader, as the function calls it; empty to look for it.

    Raises:
        SettingsInvalid: There is no optimizer, or it isn't clear which loader is trained on.
        RunMisused: The loop goes on with an iterator that was made before it.
    """
    found = find(variables)
    if not found.optimizers:
        raise refusals.no_optimizer()
    carries = carried(source.loop, source.called, source.training)
    require_no_iterator(carries.iterated, variables)
    loader = chosen_loader(found.loaders, variables, source, data)
    if loader is not None and not data:
        _require_built_before(source, carries, loader, variables)
    drawn = {id(each) for each in generators_in(loader and loader.value)}  # set for each sample
    found.parts = [each for each in found.parts if id(each.value) not in drawn]
    is_one_pass = loader is not None and is_over(source.loop, loader, variables)
    return SetUp(source, found, loader, carries, is_one_pass)


def _require_built_before(
    source: Source, carries: Carried, loader: Found, variables: Mapping[str, Any]
) -> None:
    """Refuse a loop that trains on a loader which it builds itself, where another one was found.

    Raises:
        SettingsInvalid: It does.
    """
    if any(resolved(each, variables) is loader.value for each in source.trains_on):
        return
    for name in source.trains_on:
        if name in carries.assigned and name not in variables and "loader" in name.lower():
            raise refusals.loader_built_inside(name, loader.expression)


def run_of(
    made: SetUp,
    variables: Mapping[str, Any],
    directory: Path | str,
    first_round: object,
    accept: Collection[str],
    policies: Mapping[str, Any],
) -> tuple[ProtectedRun, list[str]]:
    """Return the run, not resumed yet, and what the table tells as not saved.

    Args:
        made: What was found.
        variables: When the loop begins.
        directory: Of the run.
        first_round: With what it begins; None where that is no plain value.
        accept: Ids of checks whose difference is meant.
        policies: Further arguments of `Run`.
    """
    found, loader = made.found, made.loader
    facts = {**policies.get("facts", {})}
    if first_round is not None:
        facts[FIRST_ROUND] = first_round
    data = None if loader is None else loader.value
    given = {**policies, **_given(found), "facts": facts}
    run = ProtectedRun(directory, data=data, advice=SAY, **given)
    run.accepted = accept
    be_heard()
    anew = list(begun_anew(made.carried, variables, found))
    text = table(made.source, directory, found, loader, anew)
    run.table = KeptTable(run.layout, text, found, loader, anew)
    run.table.show()
    return run, [each.expression for each in anew]


def _given(found: FoundObjects) -> dict[str, Any]:
    """Return what was found as arguments of `Run`: one object alone, several as a dict."""
    roles = {"model": found.models, "optimizer": found.optimizers, "scaler": found.scalers}
    given: dict[str, Any] = {each.name: each.value for each in found.parts}
    for role, several in roles.items():
        alone = several[0].value if len(several) == 1 else None
        given[role] = alone if len(several) < 2 else {each.name: each.value for each in several}
    if given["model"] is None:
        given["model"] = {}
    return given
