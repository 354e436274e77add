"""What a run says of itself: the evidence in each checkpoint, and what the checks compare it with.

Looking changes nothing: no gradient, no mode, no generator, no counter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from unbroken.checkpoint.layout import Layout
from unbroken.checkpoint.run_directory import SCHEMES
from unbroken.checkpoint.snapshot import Snapshot
from unbroken.checks.last_batch_identical import CONTENT, CONTENT_AT
from unbroken.checks.schedule_settings import OF_LOOP, OF_RUN
from unbroken.checks.state_summary import Leaf, StateSummary
from unbroken.errors import SettingsInvalid
from unbroken.journal.logs import logs_of
from unbroken.loop.rates_ahead import (
    WIDENING,
    foresees,
    has_known_counters,
    next_rates,
    scheduled_rates,
    whole_curve,
)
from unbroken.loop.schedule import Schedule
from unbroken.run import misuse
from unbroken.run.at_birth import AtBirth
from unbroken.run.flat_state import digested, digested_and_nonfinite, flat, leaf_of
from unbroken.run.order import Batches, Order
from unbroken.run.probe import Probe, probed
from unbroken.run.replicas import Replicas
from unbroken.state.digest import combined_digest
from unbroken.state.frozen import frozen_digests, reached
from unbroken.state.modules import ModulePart, across_samples
from unbroken.state.optimizers import OptimizerPart
from unbroken.state.position import Position
from unbroken.state.random_streams import EpochStreams, RandomStreams, streams_of
from unbroken.state.training_state import OWN_PARTS, TrainingState
from unbroken.watch.foreseen_rates import ForeseenRates

GATHERED = 1
"""Number of the way evidence is gathered; a checkpoint without it is older than the checks."""

ADDED = "added"
"""Name of the names of the parts that were added while training."""

COMPUTED_ON = "computed_on"
"""Name of the type of the device that what is trained lies on."""
RATES_TO_COME, SAMPLES_TO_COME = 32, 64


@dataclass(slots=True, kw_only=True)
class StateInspector:
    """Looks at one run.

    Every argument is the run's own object; nothing is copied until it is looked at.
    """

    state: TrainingState
    order: Order
    seed: int
    """The run's; a fact of its own where the order has another."""
    declared_facts: Mapping[str, Any]
    """What the run is made of, beside its order."""
    environment: Mapping[str, Any]
    """What this process computes with."""
    schedules: Mapping[str, Any]
    """By part name."""
    requested_facts: Mapping[str, Any] | None = None
    """Those that were asked for at this start, where some saved ones were kept instead."""
    frozen: Mapping[str, slice | None] = field(default_factory=dict)
    """Leaves, or ranges of their rows, that nothing may move."""
    probe: Probe | None = None
    """A small batch whose losses are measured."""
    batches: Batches | None = None
    """Where a run that hands batches out reads them."""
    replicas: Replicas = field(default_factory=lambda: Replicas({}))
    """Its models that several processes keep alike."""
    processes: int = 1
    """How many train."""
    at_birth: AtBirth = field(default_factory=AtBirth)
    """What the code asked for at the run's start."""
    streams: RandomStreams = field(init=False)
    """What the randomness of each step derives from; a new run's until another scheme is known."""

    def __post_init__(self) -> None:
        """Refuse a seed of the run's own that is no number of 64 bits."""
        seed: object = self.seed  # a caller may give anything
        if seed is not self.order.seed and not (type(seed) is int and 0 <= seed < 2**64):
            raise SettingsInvalid(
                f"Run(seed=) is {seed!r}.",
                "The randomness of each micro-batch derives from 64 bits of it.",
                "Give a whole number from 0 to 2**64 - 1, or none for the order's seed.",
            )
        self.streams = EpochStreams(self.seed)

    def go_on_with_scheme(self, seed_scheme: int) -> None:
        """Derive randomness by the scheme that the run began with."""
        self.streams = streams_of(seed_scheme, self.seed)

    def go_on_after(self, saved: StateSummary, position: Position) -> None:
        """Take over what a saved order went through, and which batch was trained last."""
        self.order.go_on_as(saved.facts.get("order", {}), position)
        if self.batches is not None and (last := saved.evidence.get(CONTENT_AT)):
            self.batches.trained_at = last

    @property
    def facts(self) -> dict[str, Any]:
        """What the run is trained with; its order as it goes on after a resume."""
        order = self.order.facts()
        if self.seed != self.order.seed:
            order["run_seed"] = self.seed
        if self.processes > 1:
            order["processes"] = self.processes
        return {**self.declared_facts, "order": order, "environment": self.environment}

    def require_out_of_reach(self) -> None:
        """Refuse to begin where something reaches what is frozen: every resume would be refused.

        Raises:
            SettingsInvalid: A gradient, decay or momentum would move it.
        """
        found = reached(self.state.parts, self.frozen)
        if not found:
            return
        listed = "\n".join(f"  {each}" for each in found[:10])
        raise SettingsInvalid(
            f"What Run(frozen=) names is not out of reach:\n{listed}",
            "It would be moved although nothing may move it, and no checkpoint could be resumed.",
            "Leave it out of the optimiser, or put it into a group without weight decay and keep its "
            "gradient zero; or don't declare it as frozen.",
        )

    def note_birth(
        self, built: StateSummary, saved: StateSummary | None = None, taken: Collection[str] = ()
    ) -> None:
        """Note what is frozen as it is now, before a step is trained, and what the code asked for.

        Args:
            built: The objects as the code built them.
            saved: What knows of the run's start; only what it does not know is new.
            taken: Ids of the checks whose new value acts instead of the saved one.
        """
        digests = frozen_digests(self.state.parts, self.frozen)
        self.at_birth = AtBirth.of(digests, built, saved, taken)

    def evidence(self, layout: Layout) -> dict[str, Any]:
        """Return what is written into a checkpoint of the run in a directory, beside the state."""
        return {
            "logs": logs_of(layout),
            "gathered": GATHERED,
            "kinds": self.kinds(),
            ADDED: list(self.state.added),
            "without_state": [name for each in self._optimizers() for name in each.without_state()],
            "optimizer_ahead": self._ahead_of_updates(),
            COMPUTED_ON: next((each.device.type for each in self.state.trained.values()), ""),
            **self.at_birth.evidence(),
            **self.replicas.evidence(),
            **self._ahead(),
            **probed(self.probe),
            **(
                {CONTENT: self.batches.trained, CONTENT_AT: self.batches.trained_at}
                if self.batches
                else {}
            ),
        }

    def snapshot(
        self, layout: Layout, run_id: str, start: int, metrics: Mapping[str, float]
    ) -> Snapshot:
        """Return the run's state as it is now, for a checkpoint; the tensors are the live ones.

        Raises:
            SaveFailed: It is a state from which no start could go on exactly.
            RunMisused: A part that was added while training wasn't added again.
        """
        if self.state.pending:
            raise misuse.not_added_again(self.state.pending)
        if not self.state.is_savable:
            raise misuse.not_savable(self.state)
        return Snapshot(
            run_id=run_id,
            start=start,
            position=self.state.position,
            parts=self.state.capture(),
            facts=self.facts,
            evidence=self.evidence(layout),
            metrics=metrics,
            only_updated=self.state.only_updated(),
        )

    def kinds(self) -> dict[str, str]:
        """Return of what kind each part is."""
        found = {name: self._kind(name, part) for name, part in self.state.parts.items()}
        return found | dict.fromkeys(OWN_PARTS, "run")

    def _kind(self, name: str, part: Any) -> str:
        if isinstance(part, ModulePart):
            return "model"
        if isinstance(part, OptimizerPart):
            return "optimizer"
        if name in self.schedules and has_known_counters(self.schedules[name]):
            return OF_RUN
        if isinstance(part.target, LRScheduler | Schedule) and has_known_counters(part.target):
            return OF_LOOP
        return "scaler" if isinstance(part.target, torch.amp.GradScaler) else "other"

    def structure(self) -> StateSummary:
        """Return the objects as the code built them, before anything is restored into them."""
        values, tensors = flat(self.state.capture())
        return StateSummary(
            position=self.state.position.state_dict(),
            facts={**self.facts, **(self.requested_facts or {})},
            kinds=self.kinds(),
            values=values,
            leaves={path: leaf_of(each) for path, each in tensors.items()},
            evidence={
                "across_samples": across_samples(self.state.parts),
                "elementwise": {each.name: each.elementwise for each in self._optimizers()},
            },
        )

    def content(self) -> StateSummary:
        """Return the state as it stands, and what of it can be changed before the first step."""
        evidence = {"reached": reached(self.state.parts, self.frozen), **self._ahead()}
        values, tensors = flat(self.state.capture())
        return self._as_it_stands(values, digested(tensors), evidence)

    def _as_it_stands(
        self, values: Mapping[str, Any], seen: Mapping[str, Leaf], evidence: Mapping[str, Any]
    ) -> StateSummary:
        return StateSummary(
            position=self.state.position.state_dict(),
            facts=self.facts,
            kinds=self.kinds(),
            values=values,
            leaves=seen,
            evidence=evidence,
        )

    def switched(self) -> StateSummary | None:
        """Return the state as optimisers that were saved for evaluation make it to train on.

        Schedule-free optimisers are saved so after their `eval()`; the loop calls their `train()`
        again. None where no optimiser is.
        """
        switched = [each for each in self._optimizers() if each.is_switched]
        if not switched:
            return None
        with ExitStack() as stack:
            for each in switched:
                stack.enter_context(each.switched_to_training())
            return self.content()

    def digest(self) -> str:
        """Return one digest over all tensors of the state as they stand."""
        return combined_digest(flat(self.state.capture())[1].items())

    def live(self) -> StateSummary:
        """Return the state as it stands, and all that a resume compares beside it."""
        values, tensors = flat(self.state.capture())
        seen, nonfinite = digested_and_nonfinite(tensors)
        evidence = {
            "frozen": frozen_digests(self.state.parts, self.frozen),
            "reached": reached(self.state.parts, self.frozen),
            "nonfinite": nonfinite,
            **self._ahead(),
            **probed(self.probe),
        }
        return self._as_it_stands(values, seen, evidence)

    def foreseen_rates(self, count: int) -> ForeseenRates:
        """Return the rates of the next `count` updates, as the schedules give them now."""
        by_updates = [each for each in self.schedules.values() if isinstance(each, Schedule)]
        driven = [id(group) for each in by_updates for group in each.optimizer.param_groups]
        return ForeseenRates(
            updates=self.state.position.updates,
            depends_on_scores=(waits := self._waits_for_scores()),
            are_moved_by_loop=any(
                isinstance(getattr(part, "target", None), LRScheduler)
                for name, part in self.state.parts.items()
                if name not in self.schedules
            ),
            by_group={} if waits else self._of_schedules(partial(next_rates, count=count)),
            journalled=next(
                (name for name, group in self.state.groups()[:1] if id(group) in driven), ""
            ),
            held=next(iter(self.state.rates().values()), math.nan),
        )

    def _waits_for_scores(self) -> bool:
        """Say whether a rate depends on scores to come as well, so that no schedule foresees it."""
        targets = [getattr(part, "target", None) for part in self.state.parts.values()]
        return any(isinstance(each, ReduceLROnPlateau) for each in targets)

    def _ahead(self) -> dict[str, Any]:
        """Return what is to come: rates, samples, the seed of the next micro-batch."""
        here = self.state.position
        return {
            "rates": self.state.rates(),
            "scheduled": self._of_schedules(scheduled_rates),
            "next_rates": self._of_schedules(lambda each: next_rates(each, RATES_TO_COME)),
            "curves": self._curves(),
            "next_samples": self.order.next_ids(here, SAMPLES_TO_COME),
            "step_samples": len(self.order.at(here)),
            "schemes": {**SCHEMES, "seed_scheme": self.streams.scheme},
            "seed_here": self.streams.seed_at(here),
        }

    def _of_schedules(self, rates: Callable[[Any], list[Any]]) -> dict[str, Any]:
        """Return what is computed for each group that has a schedule, by the group's name."""
        names = {id(group): name for name, group in self.state.groups()}
        found: dict[str, Any] = {}
        for schedule in self.schedules.values():
            series = rates(schedule)
            groups = schedule.optimizer.param_groups if series else []
            for group, each in zip(groups, series, strict=True):
                name = names.get(id(group), "an optimiser that is not the run's")
                found[name] = _as_held(group["lr"], each)
        return found

    def _optimizers(self) -> list[OptimizerPart]:
        return [each for each in self.state.parts.values() if isinstance(each, OptimizerPart)]

    def _ahead_of_updates(self) -> dict[str, float]:
        """Return by how much each optimiser's own step counter is ahead of the run's updates."""
        steps = {each.name: each.steps() for each in self._optimizers()}
        updates = self.state.position.updates
        return {name: each - updates for name, each in steps.items() if each is not None}

    def _curves(self) -> dict[str, Any]:
        """Return the whole curve of every schedule, those as well that the loop steps itself."""
        targets = {name: getattr(part, "target", None) for name, part in self.state.parts.items()}
        found = {n: whole_curve(each) for n, each in targets.items() if foresees(each)}
        return {"ahead": list(WIDENING), "rates": found} if found else {}


def _as_held(rate: Any, given: Any) -> Any:
    """Return rates as the group holds them: a tensor keeps fewer digits than a schedule gives."""
    is_rounded = isinstance(rate, torch.Tensor)
    return torch.tensor(given, dtype=rate.dtype).tolist() if is_rounded else given
