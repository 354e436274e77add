"""What a fault is: a sentence, where it was seen, and what it does to a training."""

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
    """Where a fault acts: the program before it starts again, its files, the libraries it uses."""

    plan: TrainingPlan
    """What the program will decide; a fault rewrites it."""
    directory: Path
    """The run's, a copy: a fault may change its bytes."""
    patches: ExitStack = field(default_factory=ExitStack)
    """Taken back at the end of the trial."""

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return max((self.directory / "checkpoints").iterdir())

    def replace(self, owner: Any, name: str, value: Any) -> None:
        """Put something else in the place of a library's function for the time of the trial."""
        self.patches.enter_context(mock.patch.object(owner, name, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which a resume goes wrong."""

    id: str
    sentence: str
    """What is wrong, as a person would say it who knows."""
    mechanism: str
    """Faults of one mechanism differ only in a number or a place."""
    area: str
    """Where it belongs: `original`, `rate`, `optimizer`, `precision`, ..."""
    cause: tuple[str, ...]
    """What names it rightly: ids of checks, or `replay: ...` with what the replay may say."""
    inject: Callable[[Scene], None]
    source: str = ""
    """Where it was seen: an id of the collected reports, or a defect of the earlier trainer."""
    setting: str = "own"
    """Which training it is done to; see `unbroken.selftest.base.SETTINGS`."""


class Area:
    """The faults of one area, in the order in which they are written.

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
        """Add the decorated function, which injects it; arguments as in `Fault`.

        Without a mechanism it is one of its own.
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
