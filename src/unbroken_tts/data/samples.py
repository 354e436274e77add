"""Reads samples for training and pads them to batches.

A sample that can't be read, or has changed since the preflight, is an error that names it. It is
never replaced by another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset

from unbroken import DataInvalid
from unbroken_tts.data.array_facts import array_digest
from unbroken_tts.data.batch import Batch
from unbroken_tts.data.npy import ArrayUnusable, read_array
from unbroken_tts.data.pairs import ROLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from unbroken_tts.data.pairs import Pairs


class SampleChanged(DataInvalid):
    """A sample can't be read, or its content changed since the preflight.

    A `DataLoader` re-creates an error of a worker process from one text, the traceback. So two
    arguments have defaults, and `what` is extracted from a traceback.
    """

    def __init__(
        self,
        what: str,
        why: str = "Silently dropping or replacing a sample would make it another training.",
        remedy: str = "Restore the file, or start again: the preflight then reads the changed file.",
    ) -> None:
        marker = f"{type(self).__name__}: "
        super().__init__(what.rpartition(marker)[2].split("\n", 1)[0], why, remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample, unpadded, without start and stop tokens."""

    id: str
    """The pair id."""
    text_ids: torch.Tensor
    """(T,) int32 in [0, vocabulary)."""
    codes: torch.Tensor
    """(M,) int32 in [0, start_mel_token)."""
    condition: torch.Tensor
    """(C, D) float32: speaker conditioning of the prompt."""
    emo_vec: torch.Tensor
    """(D,) float32: emotion vector of the prompt."""


class PairDataset(Dataset[Sample]):
    """Samples by index; picklable for worker processes, also spawned ones.

    Args:
        pairs: `Checked.pairs`. The digest of each array is compared with that of the preflight,
            so a change is noticed, but not a new mtime with equal content. Without a preflight
            nothing is compared.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Args:
            index: In [0, len(self)).

        Raises:
            SampleChanged: An array can't be read or changed since the preflight.
            IndexError: There is no such sample.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        text_ids, codes, condition, emo_vec = (
            torch.from_numpy(self._array(index, number)) for number in range(len(ROLES))
        )
        return Sample(
            id=self._pairs.ids[index],
            text_ids=text_ids,
            codes=codes,
            condition=condition,
            emo_vec=emo_vec,
        )

    def _array(self, index: int, number: int) -> npt.NDArray[np.generic[Any]]:
        path: str = getattr(self._pairs, ROLES[number])[index]
        try:
            array, _ = read_array(path)
        except ArrayUnusable as error:
            raise SampleChanged(f"{self._name(index)}: {path} {error.detail}.") from None
        digests = self._pairs.digests
        if digests is not None:
            found, expected = array_digest(array), digests[index, number].tobytes()
            if found != expected:
                raise SampleChanged(
                    f"{self._name(index)}: {path} changed since the preflight "
                    f"(digest {found.hex()}, was {expected.hex()})."
                )
        if ROLES[number] == "code_paths":
            # Shorter than the array only where filler is trimmed.
            array = array[: int(self._pairs.code_lengths[index])]
        # torch needs writable memory; the copy is 164 kB at most.
        return array.copy()

    def _name(self, index: int) -> str:
        return f"Sample {self._pairs.ids[index]} ({self._pairs.where(index)})"


def collate(samples: Sequence[Sample], *, stop_text_token: int, stop_mel_token: int) -> Batch:
    """Pad samples on the right to one batch.

    Args:
        samples: At least one, in the order of the batch.
        stop_text_token: Pads the text ids.
        stop_mel_token: Pads the codes.
    """
    texts = [sample.text_ids for sample in samples]
    codes = [sample.codes for sample in samples]
    return Batch(
        ids=[sample.id for sample in samples],
        text_ids=_padded(texts, stop_text_token),
        text_lengths=torch.tensor([len(text) for text in texts], dtype=torch.int64),
        codes=_padded(codes, stop_mel_token),
        code_lengths=torch.tensor([len(code) for code in codes], dtype=torch.int64),
        condition=torch.stack([sample.condition for sample in samples]),
        emo_vec=torch.stack([sample.emo_vec for sample in samples]),
    )


def _padded(rows: list[torch.Tensor], filler: int) -> torch.Tensor:
    longest = max(len(row) for row in rows)
    padded = torch.full((len(rows), longest), filler, dtype=torch.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded
