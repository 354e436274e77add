"""Every tensor of the model is in the checkpoint, with its shape and dtype.

Compares: names, shapes and dtypes of parameters and buffers, by name, both ways. What came, grew or
went while the run trained is state: of that, what the code builds now is compared with what it built
then.

Why: a tensor that isn't restored keeps its random initial values; a cast loses bits.

Does not: compare content; `weights-identical` does, after the restore.
"""

from __future__ import annotations

from unbroken.checks.check import (
    Check,
    CheckResult,
    Difference,
    OnAccept,
    Severity,
    Stage,
    agrees,
    differs,
)
from unbroken.checks.state_summary import Leaf, StateSummary, is_below


class ModelLeavesComplete(Check):
    """The model's tensors have the saved names, shapes and dtypes."""

    id = "model-leaves-complete"
    title = "The model's tensors have the saved names, shapes and dtypes"
    area = "model"
    severity = Severity.CRITICAL
    on_accept = OnAccept.NEVER
    stage = Stage.BEFORE
    why = "Other tensors would keep their random initial values, or lose bits in a cast."
    cause = "The model is built from another configuration, or its code changed."
    remedy = "Build the model as before, or begin a new run from its weights."
    AGREES = (
        (
            StateSummary(
                kinds={"m": "model"},
                leaves={"m.queue": Leaf("float32", (9, 3)), "m.mask": Leaf("float32", (3,))},
                values={"m.born.queue": "float32 [0, 3]", "m.born.mask": None},
            ),
            StateSummary(kinds={"m": "model"}, leaves={"m.queue": Leaf("float32", (0, 3))}),
        ),
        (
            StateSummary(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2, 3))}),
            StateSummary(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2, 3))}),
        ),
    )
    DIFFERS = (
        (
            StateSummary(
                kinds={"m": "model"},
                leaves={"m.queue": Leaf("float32", (9, 3))},
                values={"m.born.queue": "float32 [0, 3]"},
            ),
            StateSummary(kinds={"m": "model"}, leaves={"m.queue": Leaf("float32", (0, 4))}),
        ),
        (
            StateSummary(kinds={"m": "model"}, leaves={"m.w": Leaf("float32", (2, 3))}),
            StateSummary(kinds={"m": "model"}, leaves={"m.w": Leaf("bfloat16", (2, 3))}),
        ),
    )

    def compare(self, saved: StateSummary, live: StateSummary) -> CheckResult:
        """Compare the structure of all models."""
        parts = live.of_kind("model")
        # What a module saves that is no tensor may be a list that fills: it is the module's own.
        extra = tuple(f"{part}.extra." for part in parts)
        lists = [path for path in live.values if path.startswith(extra)] if extra else []
        before, now = (
            {
                path: str(leaf)
                for path, leaf in each.leaves.items()
                if is_below(path, parts) and not is_below(path, lists)
            }
            for each in (saved, live)
        )
        born = {**before, **_born(saved, parts)}
        details = [
            Difference(
                path,
                was := born.get(path) or "not in the checkpoint",
                found := now.get(path, "gone"),
                f"{path}: is {found}, was {was}",
            )
            for path in sorted(before.keys() | now.keys())
            if now.get(path) not in (before.get(path), born.get(path))
        ]
        if details:
            numbers = f"{len(details)} of {len(before | now)} tensors differ"
            return differs(numbers, *details, headline=_cast(saved, live, parts))
        return agrees(f"{len(now)} tensors")


def _born(saved: StateSummary, parts: list[str]) -> dict[str, str | None]:
    """Return what the code built where that changed before the save; None for what it didn't."""
    return {
        f"{part}.{path.removeprefix(root)}": each
        for part in parts
        for root in (f"{part}.born.",)
        for path, each in saved.values.items()
        if path.startswith(root)
    }


def _cast(saved: StateSummary, live: StateSummary, parts: list[str]) -> str:
    """Return the headline if only dtypes differ."""
    before, now = (
        {path: leaf for path, leaf in each.leaves.items() if is_below(path, parts)}
        for each in (saved, live)
    )
    if {k: v.shape for k, v in before.items()} != {k: v.shape for k, v in now.items()}:
        return ""
    pairs = {(now[path].dtype, before[path].dtype) for path in before}
    casts = ", ".join(sorted(f"{new} instead of {old}" for new, old in pairs if new != old))
    return f"CRITICAL: The model is built in another dtype: {casts}"
