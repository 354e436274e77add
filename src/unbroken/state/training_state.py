"""What a run is: its parts, its position, and what an unfinished step has gathered.

What is lost without each:

- parts: weights, momentum, schedule, scaler, whatever was declared; each is restored strictly.
- position: which samples were used; all order and randomness derives from it.
- sums and gradients: the micro-batches of an unfinished step.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from unbroken.errors import NotEncodable, RunMisused
from unbroken.state.accumulation import (
    PartialSums,
    gradient_differences,
    gradients,
    put_gradients,
    put_sparse_gradients,
    sparse_gradients,
)
from unbroken.state.codec import encode
from unbroken.state.fingerprint import StepFingerprint
from unbroken.state.modules import TENSORS, ModulePart
from unbroken.state.optimizer_steps import OptimizerSteps
from unbroken.state.optimizers import OptimizerPart, is_optimizer
from unbroken.state.parts import (
    make_parts,
    parameter_names,
    refusals,
    require_same_structure,
    require_saved,
    restore_parts,
)
from unbroken.state.position import Position, with_samples
from unbroken.state.standing_gradients import StandingGradients

OWN_PARTS = ("sums", "gradients")


class TrainingState:
    """The live state of a run.

    Args:
        declared: The objects by part name.
        optimizers: Those of them that update parameters, in order.

    Raises:
        NotEncodable: A part can't be saved, or its name is taken.
    """

    def __init__(
        self, declared: Mapping[str, Any], optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        taken = [name for name in OWN_PARTS if name in declared]
        if taken:
            raise NotEncodable(
                f"A part is named {taken[0]!r}.",
                "The run keeps the unfinished step under this name.",
                "Choose another name.",
            )
        self.parts = make_parts(declared)
        self.added: list[str] = []
        """Names of the parts that were added while training, or were so before the last stop."""
        self._driven = {id(each) for each in optimizers}
        self._optimizers = {
            name: each for name, each in self.parts.items() if isinstance(each, OptimizerPart)
        }
        self.trained: dict[str, torch.Tensor] = {}
        """Parameters that `step.update()` updates, by leaf path."""
        self.updated: dict[str, torch.Tensor] = {}
        """Parameters that any declared optimiser updates, by leaf path: their gradients are state."""
        self._held = -1
        self.look_for_parameters()
        self._standing = StandingGradients(self._optimizers)
        self.optimizer_steps = OptimizerSteps(
            self._optimizers, parameter_names(declared), self._standing.stepped
        )
        self._steps_counted = 0
        self.position = Position()
        self.sums = PartialSums()
        self.fingerprint = StepFingerprint(self.parts, self.trained)
        self.has_uncounted = False
        """Whether gradients are in of a micro-batch that the position does not count yet."""
        self.has_graph = False
        """Whether the gradients of the present step have a graph, which can't be saved."""
        self.is_usable = True
        """False while, and after, a restore has failed half-way: half a state must not train."""
        self.require_encodable()
        require_saved(self.parts, self.trained)

    def capture(self) -> dict[str, Any]:
        """Return the state of every part and of the unfinished step; the tensors are the live ones."""
        self.look_for_parameters()
        captured: dict[str, Any] = {name: part.capture() for name, part in self.parts.items()}
        captured["sums"] = self.sums.state_dict()
        used_up = set() if self._is_inside_step else self._standing.used_up()
        held = {name: each for name, each in self.updated.items() if name not in used_up}
        captured["gradients"] = {TENSORS: gradients(held)}
        if sparse := sparse_gradients(held):
            captured["gradients"]["sparse"] = sparse
        return captured

    def add_part(self, name: str, built: Any) -> None:
        """Declare an object that came into being while training.

        Raises:
            NotEncodable: It can't be saved, its name is taken, or it is an optimiser.
        """
        if name in (*self.parts, *OWN_PARTS) or is_optimizer(built):
            raise NotEncodable(
                f"The part {name!r} can't be added: "
                + ("it is an optimiser." if is_optimizer(built) else "there is one of that name."),
                "A part that is added has a name of its own, and updates nothing by itself.",
                "Choose another name; declare optimisers in Run(...), also those that step later.",
            )
        part = make_parts({name: built})[name]
        encode(part.capture(), name, {})
        self.parts[name] = part
        self.added = [*dict.fromkeys([*self.added, name])]

    @property
    def pending(self) -> list[str]:
        """Names of the parts that were added before the last stop, and are not yet again."""
        return [name for name in self.added if name not in self.parts]

    @property
    def _is_inside_step(self) -> bool:
        return self.position.samples > 0 or self.has_uncounted

    @property
    def is_updated(self) -> bool:
        """Whether an optimiser stepped after the last micro-batch, in a step that isn't ended yet."""
        return bool(self.position.samples) and self.optimizer_steps.count != self._steps_counted

    @property
    def is_savable(self) -> bool:
        """Whether a start could go on from here.

        Not where gradients are in of a micro-batch that isn't counted; not between an update and the end
        of its step, for the next start would make the update again; not inside a step that has
        gathered nothing of the samples it counts, nor where what it gathered can't be saved.
        """
        if self.has_uncounted or self.has_graph or self.is_updated:
            return False
        has_gathered = self.sums.values or any(p.grad is not None for p in self.updated.values())
        return not self.position.samples or bool(has_gathered)

    def look_for_parameters(self) -> None:
        """Learn which parameters are trained: a group may have been added to an optimiser."""
        held = self.groups_and_parameters()
        if held == self._held:
            return
        self._held = held
        for part in self._optimizers.values():
            self.updated |= part.parameters
            if id(part.optimizer) in self._driven:
                self.trained |= part.parameters

    def groups_and_parameters(self) -> int:
        """Return how many groups and parameters all optimisers have: more where some were added."""
        groups = (each.optimizer.param_groups for each in self._optimizers.values())
        return sum(1 + len(group["params"]) for each in groups for group in each)

    def structure(self) -> Hashable:
        """Return what another start would have to build alike: it is compared with itself only."""
        return (
            tuple(
                (name, tuple(path for path, _ in part.module.named_modules()))
                for name, part in self.parts.items()
                if isinstance(part, ModulePart)
            ),
            tuple((name, len(group["params"])) for name, group in self.groups()),
        )

    def require_resumable(self) -> None:
        """Show that the objects, as they were when the run was set up, would take this state in.

        Raises:
            NotEncodable: They would refuse it, so that no checkpoint of it could be resumed.
        """
        captured = self.capture()
        for name, each in captured.items():
            encode(each, name, {})
        if found := refusals(self.parts, captured):
            listed = "\n".join(f"  {each}" for each in found[:10])
            raise NotEncodable(
                f"A checkpoint of this state could not be resumed:\n{listed}",
                "The objects that a start builds would not take it back as it was: the run would train "
                "on, save, and be lost at the first stop.",
                "Build everything that is trained before Run(...); where an object's own "
                "load_state_dict() loses something, correct it.",
            )

    def count(self, samples: int) -> Position:
        """Count the samples of a micro-batch whose gradients are in; return the position before."""
        before = self.position
        self.look_for_parameters()
        self._standing.gradients_in()
        self.pass_over(samples)
        self.has_uncounted = False
        return before

    def pass_over(self, samples: int) -> None:
        """Count samples of the step that another process trains."""
        self.position = with_samples(self.position, self.position.samples + samples)
        self._steps_counted = self.optimizer_steps.count

    def drop_unfinished_step(self) -> None:
        """Go back to the start of the step: the gradients and sums of its micro-batches are dropped."""
        self.drop_gradients()
        self.fingerprint.clear()
        self.begin_step(replace(self.position, samples=0))

    def drop_gradients(self) -> None:
        """Set the gradients of all that is updated to None."""
        for parameter in self.updated.values():
            parameter.grad = None

    def end_step(self, position: Position, *, is_update_left_out: bool) -> None:
        """Stand at the end of a step, which is the start of the next.

        Args:
            position: Where that is.
            is_update_left_out: Whether gradients that were to be applied are of no more use.
        """
        stepped = self.optimizer_steps.names
        self._standing.step_over(self._optimizers if is_update_left_out else stepped)
        self.begin_step(position)

    def begin_step(self, position: Position) -> None:
        """Stand at the start of a step, at `position`; nothing is gathered of it yet."""
        self.position = position
        self.sums.clear()
        self.has_uncounted = self.has_graph = False

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Every declared optimiser, those as well that only the loop steps."""
        return [each.optimizer for each in self._optimizers.values()]

    def stepped_paths(self) -> set[str]:
        """Return the leaf paths of what optimisers have updated in this step already."""
        return set(self.updated_by(self.optimizer_steps.names))

    def updated_by(self, names: Collection[str]) -> dict[str, torch.Tensor]:
        """Return what some declared optimisers update, by leaf path."""
        return {p: each for n in names for p, each in self._optimizers[n].parameters.items()}

    def named(self, names: Collection[str]) -> list[torch.optim.Optimizer]:
        """Return declared optimisers by their names.

        Raises:
            RunMisused: There is none of that name.
        """
        for unknown in (name for name in names if name not in self._optimizers):
            raise RunMisused(
                f"There is no optimiser {unknown!r} in this run.",
                "Nothing would be updated.",
                f"Name one of those that were declared: {', '.join(self._optimizers)}.",
            )
        return [self._optimizers[name].optimizer for name in names]

    def forbid_training(self) -> None:
        """Have every later step refused: the objects are not what was saved."""
        self.is_usable = False

    def groups(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the parameter groups of all optimisers, by name."""
        return [
            (f"{name}.{group.get('name', i)}", group)
            for name, part in self.parts.items()
            if isinstance(part, OptimizerPart)
            for i, group in enumerate(part.optimizer.param_groups)
        ]

    def rates(self) -> dict[str, float]:
        """Return the learning rate that each group holds, by the group's name; some hold none."""
        return {n: float(group["lr"]) for n, group in self.groups() if group.get("lr") is not None}

    @property
    def device(self) -> torch.device:
        """The device of the first parameter that is trained; the host where there is none."""
        first = next(iter(self.trained.values()), None)
        return torch.device("cpu") if first is None else first.device

    def only_updated(self) -> set[str]:
        """Return the leaf paths of what only updates change: trained parameters and their moments."""
        optimizers = (each for each in self.parts.values() if isinstance(each, OptimizerPart))
        return set(self.trained).union(*(each.moments() for each in optimizers))

    @property
    def streamed(self) -> set[str]:
        """Names of the parts that can take stored tensors in, one at a time."""
        return {n for n, each in self.parts.items() if isinstance(each, ModulePart | OptimizerPart)}

    def _added(self, saved: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the parameters of groups that were added while training, by leaf path."""
        return {
            path: parameter
            for name, part in self.parts.items()
            if isinstance(part, OptimizerPart)
            for path, parameter in part.in_groups_of(saved.get(name)).items()
        }

    def require_encodable(self) -> None:
        """Encode everything once, so that what can't be saved is known before the first step.

        Raises:
            NotEncodable: A leaf has no faithful form.
        """
        for name, each in self.capture().items():
            encode(each, name, {})

    def restore(self, saved: dict[str, Any], position: Position) -> None:
        """Put a saved state into the live objects; whoever calls looks at them again.

        Args:
            saved: What `capture` returned, read back.
            position: Where the run stood.

        Raises:
            StateMismatch: The structure differs; nothing was changed.
        """
        others = (*OWN_PARTS, *self.pending)
        parts = {name: each for name, each in saved.items() if name not in others}
        own = [f"run.{name}: missing in the checkpoint" for name in OWN_PARTS if name not in saved]
        if not own:
            may_hold = self.updated | self._added(parts)
            own = gradient_differences(may_hold, saved["gradients"])
        require_same_structure(self.parts, parts, own)
        self.is_usable = False
        restore_parts(self.parts, parts)
        self.look_for_parameters()
        put_gradients(self.updated, saved["gradients"][TENSORS])
        put_sparse_gradients(self.updated, saved["gradients"].get("sparse", {}))
        self.sums.load_state_dict(
            {name: each.to(self.device) for name, each in saved["sums"].items()}
        )
        self.position = position
        self._steps_counted = self.optimizer_steps.count
        self.has_uncounted = self.has_graph = False
        self.is_usable = True
