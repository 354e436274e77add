"""What a run is made of: the declared objects, what updates them, and what looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unbroken.run.inspector import StateInspector
from unbroken.run.order import Batches, Order
from unbroken.run.probe import Probe
from unbroken.run.replicas import Replicas
from unbroken.run.update import Updater
from unbroken.state.facts import environment, settled
from unbroken.state.parts import by_role, named
from unbroken.state.software import software
from unbroken.state.training_state import TrainingState


def gather(  # noqa: PLR0913  # what `Run(...)` was given, in its words
    *,
    order: Order,
    batches: Batches | None,
    model: Any,
    optimizer: Any,
    scheduler: Any,
    scaler: torch.amp.GradScaler | None,
    parts: Mapping[str, Any],
    facts: Mapping[str, Any] | None,
    requested_facts: Mapping[str, Any] | None,
    frozen: Mapping[str, slice | None] | None,
    probe: Probe | None,
    seed: int | None,
) -> tuple[Updater, StateInspector]:
    """Return what applies the gradients, and what looks at the state; arguments as in `Run`.

    Raises:
        NotEncodable: A part can't be saved, or two have the same name.
        SettingsInvalid: A file among the facts can't be read, or the seed is none.
    """
    own = by_role(model=model, optimizer=optimizer, scheduler=scheduler, scaler=scaler)
    optimizers, schedules = (_of_role(each, own) for each in (optimizer, scheduler))
    if batches is not None:
        schedules = {}  # the loop moves them itself: parts like others
    declared = named(own=own, parts=dict(parts))
    updater = Updater(optimizers.values(), schedules.values(), scaler)
    return updater, StateInspector(
        state=TrainingState(declared, updater.optimizers),
        order=order,
        seed=order.seed if seed is None else seed,
        declared_facts=settled(facts or {}),
        environment={**environment(), **software(declared.values())},
        schedules=schedules,
        requested_facts=None if requested_facts is None else settled(requested_facts),
        frozen=frozen or {},
        probe=probe,
        batches=batches,
        replicas=Replicas({**own, **parts}),
    )


def _of_role(given: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return one object, or those of a dict, by the names of their parts."""
    objects = given.values() if isinstance(given, dict) else [given]
    return {name: each for one in objects for name, each in own.items() if each is one}
