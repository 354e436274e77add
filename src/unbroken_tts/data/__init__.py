"""The training data: manifests, the preflight over every array, samples and batches."""

from __future__ import annotations

from unbroken_tts.data.batch import Batch
from unbroken_tts.data.limits import Limits
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.pairs import Pairs
from unbroken_tts.data.preflight import Checked, overlap_note, preflight
from unbroken_tts.data.samples import PairDataset, Sample, collate

__all__ = [
    "Batch",
    "Checked",
    "Limits",
    "PairDataset",
    "Pairs",
    "Sample",
    "collate",
    "load_pairs",
    "overlap_note",
    "preflight",
]
