"""What the ranks of a run tell each other at the end of each step: one exchange of a few numbers.

A stop, a save by the clock, and the end of a save in the background come at another moment on each
rank. What follows from them has to come at the same step on all. Of one process nothing is exchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from unbroken.errors import Diverged, RankFailed
from unbroken.journal.line import GIVEN_UP, RATES, SCALE, SKETCH
from unbroken.loop.due import SaveDue
from unbroken.loop.stop import StopRequest
from unbroken.order.step_batches import StepBatches
from unbroken.ranks.group import OneProcess, Ranks
from unbroken.run.inspector import StateInspector
from unbroken.state.fingerprint import WEIGHTS
from unbroken.state.position import Position

_REPLICATED: Final = ("updates", "lr", RATES, SKETCH, WEIGHTS, SCALE, "skipped")
"""Fields of a step's line that are the same on each rank where models are replicated."""
_OF_WHOLE_STEPS: Final = (*_REPLICATED, "loss", "grad_norm", GIVEN_UP)
"""Those that are the same where the run divides the steps."""


class Agreement:
    """Makes of what each rank sees what all of them do.

    Args:
        stop: The requests that this rank has heard.
        due: When this rank's clock asks for a save.
        inspector: Knows which models PyTorch keeps alike on all ranks, and whether the run divides its steps.
    """

    def __init__(self, stop: StopRequest, due: SaveDue, inspector: StateInspector) -> None:
        self._stop = stop
        self._due = due
        self._replicas = inspector.replicas
        self._divides = isinstance(inspector.order, StepBatches)
        self._ranks: Ranks = OneProcess()
        self._is_due = self._is_written = False

    @property
    def is_alone(self) -> bool:
        """Whether one process trains."""
        return self._ranks.count == 1

    @property
    def is_leader(self) -> bool:
        """Whether this process tells what all of them do."""
        return self._ranks.rank == 0

    def among(self, ranks: Ranks) -> None:
        """Agree with these processes from now on."""
        self._ranks = ranks
        self._stop.waits_for_others = not self.is_alone

    def decide(self, own: bool) -> bool:
        """Return what the leader would do; every rank asks at the same place."""
        return own if self.is_alone else bool(self._ranks.from_leader(own))

    def is_due(self, step: int) -> bool:
        """Say whether to save after a step."""
        return self._due.is_due(step) if self.is_alone else self._is_due

    @property
    def is_written(self) -> bool:
        """Whether the leader's save in the background was over at the end of the last step."""
        return self._is_written

    def step_done(self, line: Mapping[str, Any], position: Position, *, is_written: bool) -> None:
        """Exchange what is known at the end of a step.

        Args:
            line: The step's line in the journal.
            position: Where the run stands after it.
            is_written: Whether no save of this rank is being written.

        Raises:
            RankFailed: A rank ended, doesn't answer, or stands at another step.
            Diverged: Models that are to be alike are not.
        """
        if self.is_alone:
            return
        step = line["step"]
        told = self._ranks.numbers(
            [
                step,
                self._stop.exit_code if self._stop.is_asked else 0,
                self._due.is_due(step),
                is_written,
                self._digest(line),
                position.epoch,
                position.batch,
            ]
        )
        self._require_same_place([(each[0], each[5], each[6]) for each in told])
        self._require_alike(step, [each[4] for each in told])
        asked = [(rank, each[1]) for rank, each in enumerate(told) if each[1]]
        if asked:
            rank, code = asked[0]
            self._stop.ask(f"a request to rank {rank}", code)
            self._stop.is_agreed = True
        self._is_due, self._is_written = bool(told[0][2]), bool(told[0][3])

    def _require_same_place(self, places: list[tuple[int, int, int]]) -> None:
        other = next((rank for rank, each in enumerate(places) if each != places[0]), None)
        if other is not None:
            (step, epoch, batch), (_, its_epoch, its_batch) = places[0], places[other]
            raise RankFailed(
                f"After step {step} rank {other} stands at batch {its_batch} of epoch {its_epoch}, rank 0 at "
                f"batch {batch} of epoch {epoch}.",
                "The ranks of a run make each step together, of the same epoch; a checkpoint of two places "
                "could not be resumed. This step was not saved.",
                "Give every rank equally many batches an epoch, as DistributedSampler does, and leave an "
                "epoch early on all of them or on none.",
            )

    def _require_alike(self, step: int, digests: list[int]) -> None:
        other = next((rank for rank, each in enumerate(digests) if each != digests[0]), None)
        if other is not None:
            raise Diverged(
                f"Rank {other} has drifted apart from rank 0 at step {step:,}: weights, gradients, learning "
                "rate or the number of updates are not alike.",
                "The model is the same on all ranks; from here on each would train another one. This step was "
                "not saved.",
                "Look for what one rank does and another doesn't: a step of the optimizer that is left "
                "out, a change of weights outside of the model's forward pass, another rate.",
            )

    def _digest(self, line: Mapping[str, Any]) -> int:
        """Return 63 bits of what should be the same on each rank; 0 where nothing has to be."""
        if not (self._divides or self._replicas):
            return 0
        names = _OF_WHOLE_STEPS if self._divides else _REPLICATED
        told = repr([line.get(name) for name in names])
        return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest()) >> 1
