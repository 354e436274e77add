"""Faults of randomness: generators that were used, seeded anew, or not restored."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from unbroken.selftest.fault import Area, Scene
from unbroken.selftest.training import TrialTraining

AREA = Area("randomness")


def _after(change: Callable[[], Any], scene: Scene) -> None:
    def hook(_: TrialTraining) -> None:
        change()

    scene.plan.after_resume.append(hook)


def _draw_from_all() -> None:
    random.random()  # noqa: S311  # a draw, not a secret
    np.random.rand()  # noqa: NPY002  # the global one is meant
    torch.rand(7)


AFTER: dict[str, tuple[str, str, Callable[[], Any], str]] = {
    "generator-seeded-anew": ("the global generator is seeded again after the resume",
        "generator-seeded", lambda: torch.manual_seed(0), "R78"),
    "generator-seeded-otherwise": ("the global generator is seeded with the time",
        "generator-seeded", lambda: torch.manual_seed(20_261_123), "R78"),
    "loader-made-once-more": ("a loader that is made in between draws its seed",
        "generator-used-by-validation", lambda: torch.empty((), dtype=torch.int64).random_(),
        "A3, R70"),
    "generator-not-restored": ("restoring the generator fails and is passed over",
        "generator-not-restored", lambda: torch.set_rng_state(torch.Generator().get_state()),
        "R103, R104, A11"),
    "all-generators-disturbed": ("all global generators are disturbed", "generator-used",
        _draw_from_all, "R107"),
}  # fmt: skip

for name, (sentence, mechanism, change, source) in AFTER.items():
    AREA.fault(name, sentence, mechanism=mechanism, source=source, setting="loose")(
        partial(_after, change)
    )


@AREA.fault("seed-for-each-forward-pass", "the loop seeds the generator before each forward pass",
    "replay: loss", source="R78")  # fmt: skip
def _seeded_forward(scene: Scene) -> None:
    def wrap(training: TrialTraining) -> None:
        forward = training.model.forward

        def seeded(*given: Any) -> Any:
            torch.manual_seed(1)
            return forward(*given)

        training.model.forward = seeded

    scene.plan.after_resume.append(wrap)


@AREA.fault("draw-before-each-forward-pass", "something draws one number before each forward pass",
    "replay: loss", source="R135")  # fmt: skip
def _drawn_forward(scene: Scene) -> None:
    def wrap(training: TrialTraining) -> None:
        forward = training.model.forward

        def drawn(*given: Any) -> Any:
            torch.rand(1)
            return forward(*given)

        training.model.forward = drawn

    scene.plan.after_resume.append(wrap)
