"""Validation on held-out samples, isolated from the training, and the best score so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from unbroken import StopRequest, permutation
from unbroken_tts.data.batch import Batch
from unbroken_tts.data.pairs import Pairs
from unbroken_tts.data.samples import PairDataset, Sample
from unbroken_tts.evaluate import Scores, evaluate
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.settings import TrainSettings
from unbroken_tts.train.languages import LanguageScore, by_language
from unbroken_tts.train.loader import validation_batches
from unbroken_tts.train.reading import ExchangedTexts, reading_gap


class Interrupted(Exception):
    """A stop was requested during validation; the next start repeats it."""


@dataclass(slots=True)
class BestValidation:
    """The best validation so far; a part of the run, so it is saved and restored."""

    loss: float | None = None
    """Lowest weighted validation loss; None before the first validation."""
    step: int = 0
    """Completed steps at that validation."""
    validated_step: int = 0
    """Completed steps at the last finished validation."""
    languages: dict[str, float] = field(default_factory=dict)
    """Language -> its weighted loss at the first validation, if there are several."""

    def state_dict(self) -> dict[str, Any]:
        """Return the fields by name; a run with one language has none of languages."""
        return {name: each for name, each in asdict(self).items() if name != "languages" or each}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the fields."""
        for each in fields(self):
            if each.name in state:
                setattr(self, each.name, state[each.name])

    def forget(self) -> None:
        """Discard the best score, so that the next validation counts as the first."""
        self.loss, self.step, self.validated_step = None, 0, 0
        self.languages = {}

    def take(self, loss: float, step: int) -> bool:
        """Record a validation; return whether it is the best so far (NaN never is)."""
        self.validated_step = step
        if not math.isnan(loss) and (self.loss is None or loss < self.loss):
            self.loss, self.step = loss, step
            return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """The result of a validation."""

    scores: Scores
    """Of all samples."""
    languages: list[LanguageScore]
    """Of each language; empty if there is only one."""
    text_gap: float | None
    """Mel loss with exchanged texts less that with the true ones; None if there is one text only."""


class Validation:
    """Computes the scores of the model on held-out samples.

    The samples are chosen once from the seed, are the same for every batch size, and are sorted by
    length to reduce padding.

    Args:
        settings: Limits and layout.
        pairs: The held-out samples.
        lengths: (N,) their lengths.
        effective_batch: Samples of a training step: the unit of `--max-val-batches`.
        batch: Samples in one forward pass.
        autocast: Returns the autocast context of the forward pass.
        stop: The stop request, checked before every batch.
    """

    def __init__(
        self,
        settings: TrainSettings,
        pairs: Pairs,
        lengths: np.ndarray[Any, np.dtype[np.int64]],
        *,
        effective_batch: int,
        batch: int,
        autocast: Callable[[], Any],
        stop: StopRequest,
    ) -> None:
        self.settings = settings
        self.dataset = PairDataset(pairs)
        self.languages = dict(zip(pairs.ids, pairs.languages, strict=True))
        self.batch = batch
        self.autocast = autocast
        self.stop = stop
        chosen = permutation(len(pairs), settings.seed, 0)
        if settings.max_val_batches:
            chosen = chosen[: settings.max_val_batches * effective_batch]
        self.indices: list[int] = chosen[np.argsort(lengths[chosen], kind="stable")].tolist()
        self._exchanged = ExchangedTexts(self.dataset, pairs, self.indices)

    def score(self, model: VoiceGpt, progress: Callable[[int, int], None]) -> Validated:
        """Return the scores of all chosen samples.

        Raises:
            Interrupted: A stop was requested.
        """
        partners = list(self._exchanged.partners)
        total = len(self.indices) + len(partners)
        scores = self._scored(model, self.dataset, self.indices, lambda done: progress(done, total))
        gap = None
        if partners:
            before = len(self.indices)
            exchanged = self._scored(
                model, self._exchanged, partners, lambda done: progress(before + done, total)
            )
            gap = reading_gap(scores, exchanged)
        return Validated(
            scores=scores,
            languages=by_language(scores, self.languages, self.settings),
            text_gap=gap,
        )

    def _scored(
        self,
        model: VoiceGpt,
        dataset: Dataset[Sample],
        indices: list[int],
        progress: Callable[[int], None],
    ) -> Scores:
        with self.autocast():
            return evaluate(
                model,
                self._batches(model, dataset, indices),
                layout=self.settings.layout,
                progress=progress,
            )

    def _batches(
        self, model: VoiceGpt, dataset: Dataset[Sample], indices: list[int]
    ) -> Iterator[Batch]:
        for batch in validation_batches(dataset, indices, self.batch, model.config):
            if self.stop.is_made:
                raise Interrupted
            yield batch

    def loss_of(self, scores: Scores) -> float:
        """Return the weighted loss by which the best checkpoint is chosen."""
        return (
            self.settings.text_loss_weight * scores.text_loss
            + self.settings.mel_loss_weight * scores.mel_loss
        )


def is_due(step: int, interval: int, steps_per_epoch: int) -> bool:
    """Return whether to validate after `step` completed steps; an interval of 0 is an epoch."""
    return step > 0 and step % (interval or steps_per_epoch) == 0


def autocast_for(device: str, dtype: torch.dtype | None) -> Callable[[], Any]:
    """Return a function that makes the autocast context of a forward pass; disabled for fp32."""
    kind = device.split(":", maxsplit=1)[0]
    return lambda: torch.autocast(kind, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
