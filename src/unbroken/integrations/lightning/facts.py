"""What a Lightning training is made of beside model, optimiser and data: compared at each resume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from unbroken.checks import Advice, FactCheck

MAY_CHANGE: Final = ("hparams", "trainer.validation")
"""Facts whose change is only noted: what they change in the training is seen otherwise."""

ADVICE: Final[Mapping[str, Advice]] = {
    "order-unchanged": Advice(
        remedy="Give the loader the run's sampler, and call seed_everything() with the run's seed before "
        "the fit, or give protect(seed=...).",
    ),
}
"""What a finding says here instead of the check's own words."""

CHECKS: Final = (
    FactCheck(
        id="lightning-epoch-unchanged",
        title="An epoch has as many batches as it had",
        covers=("order.batches_per_epoch", "order.combined", "order.loaders"),
        example=(10, 5),
        why="Lightning's counters stand in an epoch of that length.",
        remedy="Give the run's data, batch size and Trainer(limit_train_batches=...).",
    ),
    FactCheck(
        id="lightning-trainer-unchanged",
        title="Trainer(...) updates as it did",
        covers=("trainer",),
        example=({"accumulate_grad_batches": 1}, {"accumulate_grad_batches": 2}),
        why="Other gradients would be added up, clipped or rounded.",
        remedy="Give Trainer(...) the run's values.",
    ),
)


def facts_of(trainer: Any) -> dict[str, Any]:
    """Return the facts of a trainer and its module."""
    return {
        "trainer": {
            "accumulate_grad_batches": trainer.accumulate_grad_batches,
            "gradient_clip_val": trainer.gradient_clip_val,
            "gradient_clip_algorithm": _text(trainer.gradient_clip_algorithm),
            "precision": _text(trainer.precision),
            "validation": {
                "check_val_every_n_epoch": trainer.check_val_every_n_epoch,
                "val_check_interval": _text(trainer.val_check_interval),
                "limit_val_batches": trainer.limit_val_batches,
            },
        },
        "hparams": _plain(getattr(trainer.lightning_module, "hparams", {})),
    }


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _plain(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters that are plain values; others are seen in what they build."""
    plain = (bool, int, float, str, type(None))
    return {str(name): each for name, each in hparams.items() if isinstance(each, plain)}
