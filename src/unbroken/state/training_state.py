"""What a run is: its parts, its position, and what an unfinished step has gathered.

What is lost without each:

- parts: weights, momentum, schedule, scaler, whatever was declared; each is restored strictly.
- position: which samples were used; all order and randomness derives from it.
- sums and gradients: the micro-batches of an unfinished step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from unbroken.errors import NotEncodable
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
from unbroken.state.optimizers import OptimizerPart
from unbroken.state.parts import (
    make_parts,
    refusals,
    require_same_structure,
    require_saved,
    restore_parts,
)
from unbroken.state.position import Position

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
        self._optimizers = optimizers
        self.trained: dict[str, torch.Tensor] = {}
        """Parameters that an optimiser updates, by leaf path."""
        self.look_for_parameters()
        self.position = Position()
        self.sums = PartialSums()
        self.fingerprint = StepFingerprint(self.parts, self.trained)
        self.has_uncounted = False
        """Whether gradients are in of a micro-batch that the position does not count yet."""
        self.is_usable = True
        """False while, and after, a restore has failed half-way: half a state must not train."""
        self.require_encodable()
        require_saved(self.parts, self.trained)

    def capture(self) -> dict[str, Any]:
        """Return the state of every part and of the unfinished step; the tensors are the live ones."""
        captured: dict[str, Any] = {name: part.capture() for name, part in self.parts.items()}
        captured["sums"] = self.sums.state_dict()
        captured["gradients"] = {TENSORS: gradients(self.trained)}
        if sparse := sparse_gradients(self.trained):
            captured["gradients"]["sparse"] = sparse
        return captured

    def look_for_parameters(self) -> None:
        """Learn which parameters are trained: a group may have been added to an optimiser."""
        updated = {id(each) for each in self._optimizers}
        for part in self.parts.values():
            if isinstance(part, OptimizerPart) and id(part.optimizer) in updated:
                self.trained |= part.parameters

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
        self.position = replace(before, samples=before.samples + samples)
        self.has_uncounted = False
        return before

    def drop_unfinished_step(self) -> None:
        """Go back to the start of the step: the gradients and sums of its micro-batches are dropped."""
        for parameter in self.trained.values():
            parameter.grad = None
        self.fingerprint.clear()
        self.begin_step(replace(self.position, samples=0))

    def begin_step(self, position: Position) -> None:
        """Stand at the start of a step, at `position`; nothing is gathered of it yet."""
        self.position = position
        self.sums.clear()
        self.has_uncounted = False

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

    def restore(
        self,
        saved: dict[str, Any],
        position: Position,
    ) -> None:
        """Put a saved state into the live objects; whoever calls looks at them again.

        Args:
            saved: What `capture` returned, read back.
            position: Where the run stood.

        Raises:
            StateMismatch: The structure differs; nothing was changed.
        """
        parts = {name: each for name, each in saved.items() if name not in OWN_PARTS}
        own = [f"run.{name}: missing in the checkpoint" for name in OWN_PARTS if name not in saved]
        if not own:
            may_hold = self.trained | self._added(parts)
            own = gradient_differences(may_hold, saved["gradients"])
        require_same_structure(self.parts, parts, own)
        self.is_usable = False
        restore_parts(self.parts, parts)
        self.look_for_parameters()
        put_gradients(self.trained, saved["gradients"][TENSORS])
        put_sparse_gradients(self.trained, saved["gradients"].get("sparse", {}))
        device = next(iter(self.trained.values())).device if self.trained else "cpu"
        self.sums.load_state_dict({name: each.to(device) for name, each in saved["sums"].items()})
        self.position = position
        self.has_uncounted = False
        self.is_usable = True
