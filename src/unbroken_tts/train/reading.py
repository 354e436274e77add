"""Measures whether the model reads: how much worse it predicts the codes of exchanged texts.

A model can lower its loss by speaking plausibly whatever the text says. With another sentence's text
it must then be as good as with the true one; the difference of the two mel losses is the gap.
"""

from __future__ import annotations

from dataclasses import replace

from torch.utils.data import Dataset

from unbroken_tts.data.pairs import Pairs
from unbroken_tts.data.samples import PairDataset, Sample
from unbroken_tts.evaluate import Scores

MEASURED = 64
"""Samples that are measured, spread evenly over the lengths."""


class ExchangedTexts(Dataset[Sample]):
    """Samples with the text of another sample of about the same length.

    Args:
        dataset: The samples.
        pairs: Their columns.
        indices: Samples to choose from, sorted by length.
    """

    def __init__(self, dataset: PairDataset, pairs: Pairs, indices: list[int]) -> None:
        self._dataset = dataset
        count = min(MEASURED, len(indices))
        chosen = [indices[i * len(indices) // count] for i in range(count)] if count else []
        self.partners: dict[int, int] = {}
        """Sample -> the sample whose text it gets; empty if all texts are the same."""
        for place, index in enumerate(chosen):
            others = (chosen[(place + step) % count] for step in range(1, count))
            partner = next((i for i in others if _is_other(pairs, i, index)), None)
            if partner is not None:
                self.partners[index] = partner

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample with its partner's text; `index` must be one of `partners`."""
        return replace(self._dataset[index], text_ids=self._dataset[self.partners[index]].text_ids)


def _is_other(pairs: Pairs, one: int, other: int) -> bool:
    """Return whether two samples say different things in one language."""
    texts = pairs.texts[one], pairs.texts[other]
    return (
        pairs.languages[one] == pairs.languages[other]
        and pairs.text_paths[one] != pairs.text_paths[other]
        and (texts[0] is None or texts[0] != texts[1])
    )


def reading_gap(true: Scores, exchanged: Scores) -> float:
    """Return the mel loss with exchanged texts less that with the true ones, in nats per code.

    Args:
        true: Scores with the true texts, of at least the samples of `exchanged`.
        exchanged: Scores with exchanged texts.
    """
    measured = {each.id for each in exchanged.per_sample}
    return exchanged.mel_loss - true.part(measured).mel_loss
