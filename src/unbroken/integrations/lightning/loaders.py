"""The training loaders of a Lightning program as the data of a run.

One loader, or several that Lightning combines. Each has the order that its own sampler gives for seed
and epoch, so a resume takes the rest of it: nothing is loaded to be skipped.
"""

from __future__ import annotations

from typing import Any, Final

from lightning.pytorch.utilities._pytree import tree_unflatten
from lightning.pytorch.utilities.combined_loader import CombinedLoader

from unbroken.errors import SettingsInvalid
from unbroken.integrations.lightning.side_by_side import SideBySide
from unbroken.run.data import order_of
from unbroken.run.order import Batches, Order
from unbroken.state.mix import mix64

MODES: Final = ("min_size", "max_size", "max_size_cycle")
"""How Lightning combines the loaders of a training."""


class TrainingData:
    """What `Run(data=...)` is given: the loaders of a program, and how many batches an epoch has.

    Args:
        given: What the program gave Lightning: a loader, a collection of them, or a `CombinedLoader`.
        limit: `Trainer(limit_train_batches=...)`.

    Raises:
        SettingsInvalid: A run can't go on with such loaders.
    """

    def __init__(self, given: Any, limit: float) -> None:
        is_combined = isinstance(given, CombinedLoader)
        self._combined = given if is_combined else CombinedLoader(given, "max_size_cycle")
        self.given = given
        self.loaders: list[Any] = list(self._combined.flattened)
        self.mode: str = self._combined._mode  # noqa: SLF001  # in the table of private names
        if self.mode not in MODES:
            raise SettingsInvalid(
                f"The training loaders are combined with CombinedLoader(mode={self.mode!r}).",
                f"Lightning itself trains with none but {', '.join(MODES)}.",
                "Give one of these modes.",
            )
        self.length = self._epoch(limit)
        """How many batches an epoch has at most, as Lightning counts them."""

    def _epoch(self, limit: float) -> int:
        lengths = [_length(each) for each in self.loaders]
        known = [each for each in lengths if each is not None]
        if len(known) < len(lengths) and (len(lengths) > 1 or not isinstance(limit, int)):
            raise _has_no_length(self.loaders[lengths.index(None)], alone=len(lengths) == 1)
        if not known:
            return int(limit)
        whole = (min if self.mode == "min_size" else max)(known)
        return min(whole, limit) if isinstance(limit, int) else int(whole * limit)

    def order_and_batches(self, seed: int, *, repeats: bool) -> tuple[Order, Batches]:
        """Return the order of the run, and where its batches are read."""
        sides: list[tuple[Any, Any]] = [
            order_of(None, each, mix64(seed, number) if number else seed, repeats, None)
            for number, each in enumerate(self.loaders)
        ]
        spec = self._combined._spec  # noqa: SLF001  # likewise
        together = SideBySide(
            sides, self.mode, seed, self.length, lambda batches: tree_unflatten(batches, spec)
        )
        return together, together


def _length(loader: Any) -> int | None:
    """Return how many batches a loader says that it has; None where it says nothing."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return None


def _has_no_length(loader: Any, *, alone: bool) -> SettingsInvalid:
    return SettingsInvalid(
        f"The training loader {type(loader).__name__} has no length.",
        "Lightning then reads one batch ahead of what it trains, and a checkpoint could not tell "
        "which batches were trained.",
        "Give Trainer(limit_train_batches=...) a whole number of batches, or the data set a __len__."
        if alone
        else "Give the data set a __len__ and an index, or train with this loader alone.",
    )
