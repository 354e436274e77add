from __future__ import annotations

import os
import pickle
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from support.pairs import codes_of, write_pairs
from unbroken_tts.data.limits import Limits
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.preflight import preflight
from unbroken_tts.data.samples import PairDataset, SampleChanged, collate

if TYPE_CHECKING:
    from unbroken_tts.data.pairs import Pairs

COLLATE = partial(collate, stop_text_token=1, stop_mel_token=33)


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    """Return eight checked pairs."""
    limits = Limits(
        vocabulary=40,
        start_mel_token=32,
        max_text_tokens=20,
        max_mel_tokens=60,
        condition_rows=4,
        model_dim=8,
    )
    manifest = write_pairs(tmp_path, 8, condition_rows=4, model_dim=8)
    return preflight(load_pairs([str(manifest)]), limits, tmp_path / "facts").pairs


def test_a_sample_holds_its_own_arrays(pairs: Pairs) -> None:
    """Each index gives the arrays of its line, with the promised types and shapes."""
    dataset = PairDataset(pairs)
    assert 8 == len(dataset)
    for index in range(8):
        sample = dataset[index]
        text = np.load(pairs.text_paths[index])
        assert pairs.ids[index] == sample.id
        assert text.tolist() == sample.text_ids.tolist()
        assert codes_of(text, 32, 2).tolist() == sample.codes.tolist()
        assert np.load(pairs.condition_paths[index]).tolist() == sample.condition.tolist()
        assert np.load(pairs.emo_paths[index]).tolist() == sample.emo_vec.tolist()
        assert (torch.float32, (4, 8)) == (sample.condition.dtype, tuple(sample.condition.shape))
    for index in (-1, 8):
        with pytest.raises(IndexError):
            dataset[index]


def test_a_batch_is_padded_on_the_right(pairs: Pairs) -> None:
    """Real entries come first, stop tokens fill up, lengths count the real ones alone."""
    dataset = PairDataset(pairs)
    samples = [dataset[index] for index in (3, 0, 5)]
    batch = COLLATE(samples)
    assert [pairs.ids[index] for index in (3, 0, 5)] == batch.ids
    assert (torch.int64, torch.int64) == (batch.text_ids.dtype, batch.codes.dtype)
    for row, sample in enumerate(samples):
        text_length, code_length = len(sample.text_ids), len(sample.codes)
        assert text_length == int(batch.text_lengths[row])
        assert code_length == int(batch.code_lengths[row])
        assert sample.text_ids.tolist() == batch.text_ids[row, :text_length].tolist()
        assert sample.codes.tolist() == batch.codes[row, :code_length].tolist()
        assert bool((batch.text_ids[row, text_length:] == 1).all())
        assert bool((batch.codes[row, code_length:] == 33).all())
        assert torch.equal(sample.condition, batch.condition[row])
        assert torch.equal(sample.emo_vec, batch.emo_vec[row])
    assert max(len(sample.codes) for sample in samples) == batch.codes.shape[1]


def test_a_changed_array_is_an_error_that_names_it(pairs: Pairs) -> None:
    """Content that differs from the preflight's is refused, whatever size and mtime say."""
    dataset = PairDataset(pairs)
    path = pairs.emo_paths[2]
    status = Path(path).stat()
    np.save(path, np.load(path) * 2)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(SampleChanged, match="changed since the preflight") as caught:
        dataset[2]
    assert path in caught.value.what
    assert pairs.ids[2] in caught.value.what
    assert pairs.where(2) in caught.value.what
    assert 2 == caught.value.exit_code


def test_a_new_mtime_alone_is_no_change(pairs: Pairs) -> None:
    """Copying the data back in place during a run doesn't stop it."""
    before = PairDataset(pairs)[2]
    os.utime(pairs.emo_paths[2], (1, 1))
    assert torch.equal(before.emo_vec, PairDataset(pairs)[2].emo_vec)


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_an_unreadable_array_never_becomes_its_neighbour(
    pairs: Pairs, content: bytes | None
) -> None:
    """A missing or damaged file is an error for its sample; all others are as before."""
    dataset = PairDataset(pairs)
    broken = pairs.text_paths[2]
    Path(broken).unlink()
    if content is not None:
        Path(broken).write_bytes(content)
    for index in range(8):
        if pairs.text_paths[index] == broken:
            with pytest.raises(SampleChanged, match=pairs.ids[index]):
                dataset[index]
        else:
            assert pairs.ids[index] == dataset[index].id


def test_samples_survive_the_way_to_a_worker(pairs: Pairs) -> None:
    """Dataset, samples and error can be pickled, as spawned workers need."""
    dataset = pickle.loads(pickle.dumps(PairDataset(pairs)))  # noqa: S301 - our own bytes
    sample = pickle.loads(pickle.dumps(dataset[1]))  # noqa: S301 - our own bytes
    assert pairs.ids[1] == sample.id
    assert torch.equal(dataset[1].codes, sample.codes)
    batch = pickle.loads(pickle.dumps(COLLATE))([sample])  # noqa: S301 - our own bytes
    assert [pairs.ids[1]] == batch.ids


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_keeps_its_class_and_words_across_workers(pairs: Pairs, workers: int) -> None:
    """The error of a worker process ends the run as the same error would without workers."""
    Path(pairs.code_paths[0]).unlink()
    context = "spawn" if workers else None
    loader = DataLoader(
        PairDataset(pairs),
        batch_size=1,
        collate_fn=COLLATE,
        num_workers=workers,
        multiprocessing_context=context,
    )
    with pytest.raises(SampleChanged) as caught:
        next(iter(loader))
    assert f"{pairs.code_paths[0]} there is no such file." in caught.value.what
    assert caught.value.what.startswith(f"Sample {pairs.ids[0]} ({pairs.where(0)})")
    assert 2 == caught.value.exit_code
