"""How to declare a setting: its range, its help text, and whether it may change at a resume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

Resume = Literal["must match", "may change"]

LARGEST: Final = 2**31 - 1
"""Largest whole number accepted anywhere; a larger one is a typing error."""

MOST_THREADS: Final = 1024
"""Largest number of threads; with far more the system may kill the process."""


def _no_truth_value(value: Any) -> Any:
    """Refuse `true` in a settings file where a number is expected; Python would read it as 1."""
    if isinstance(value, bool):
        raise ValueError("not a number")  # noqa: TRY004 -- pydantic turns only a ValueError into a finding
    return value


Whole = Annotated[int, BeforeValidator(_no_truth_value)]
Real = Annotated[float, BeforeValidator(_no_truth_value), Field(allow_inf_nan=False)]
Count = Annotated[Whole, Field(ge=0, le=LARGEST)]
Threads = Annotated[Whole, Field(ge=0, le=MOST_THREADS)]
AtLeastOne = Annotated[Whole, Field(ge=1, le=LARGEST)]
Seed = Annotated[Whole, Field(ge=0, le=2**63 - 1)]
NotNegative = Annotated[Real, Field(ge=0)]
Positive = Annotated[Real, Field(gt=0)]
Share = Annotated[Real, Field(ge=0, lt=1)]


class Group(BaseModel):
    """Settings under one heading of `--help`, which is the title of the model."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, protected_namespaces=()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What is declared of a setting beside its type and its help text."""

    resume: Resume
    """Whether the value must be the same at a resume."""
    metavar: str
    """The placeholder of the value in `--help`."""


def setting(resume: Resume, text: str, default: Any = ..., *, metavar: str = "") -> Any:
    """Declare a setting with its help text; without `default` it is required."""
    return Field(
        default,
        description=text,
        json_schema_extra={"resume": resume, "metavar": metavar},
    )


def mark(field: FieldInfo) -> Mark:
    """Return the mark of a setting."""
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    resume = extra["resume"]
    assert resume in {"must match", "may change"}
    return Mark(
        resume="must match" if resume == "must match" else "may change",
        metavar=str(extra["metavar"]),
    )
