"""The definition of a fault: a description, its source, and how it is injected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from unbroken.selftest.training import TrainingPlan


@dataclass(slots=True, kw_only=True)
class Scene:
    """What a fault can change: the program before it starts again, its files, its libraries."""

    plan: TrainingPlan
    """The decisions of the program; a fault changes them."""
    directory: Path
    """A copy of the run's directory; a fault may change its files."""
    patches: ExitStack = field(default_factory=ExitStack)
    """Undone at the end of the trial."""

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return max((self.directory / "checkpoints").iterdir())

    def replace(self, owner: Any, name: str, value: Any) -> None:
        """Replace a library's function during the trial."""
        self.patches.enter_context(mock.patch.object(owner, name, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which a resume goes wrong."""

    id: str
    sentence: str
    """A description of the fault."""
    mechanism: str
    """Faults of one mechanism differ only in a number or a place."""
    area: str
    """Its area: `original`, `rate`, `optimizer`, `precision`, ..."""
    cause: tuple[str, ...]
    """The correct causes: ids of checks, or `replay: ...` with a cause that the replay names."""
    inject: Callable[[Scene], None]
    source: str = ""
    """Its source: an id of the collected reports, or a defect of the earlier trainer."""
    setting: str = "own"
    """The training it is injected into; see `unbroken.selftest.base.SETTINGS`."""


class Area:
    """The faults of one area, in the order of their definition.

    Args:
        name: See `Fault.area`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: list[Fault] = []

    def fault(
        self,
        id_: str,
        sentence: str,
        *cause: str,
        mechanism: str = "",
        source: str = "",
        setting: str = "own",
    ) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
        """Add the decorated function, which injects the fault; arguments as in `Fault`.

        Without `mechanism` the fault has its own.
        """

        def add(inject: Callable[[Scene], None]) -> Callable[[Scene], None]:
            self.faults.append(
                Fault(
                    id=id_,
                    sentence=sentence,
                    mechanism=mechanism or id_,
                    area=self.name,
                    cause=cause,
                    inject=inject,
                    source=source,
                    setting=setting,
                )
            )
            return inject

        return add
