"""Computes the place of each row of a micro-batch in the sequences of the transformer.

Two layouts:

* tight: [conditioning][speed][start, text, stop][start, codes] without gaps, padding only at the end.
    Causal attention then needs no mask, and no sample depends on the others.
  * legacy: text padded to the longest text of the micro-batch, then mel padded likewise, as in the
    earlier trainer; mel positions see the padding of the text, so a loss depends on the other samples.

  A plan is made in host memory from the lengths there, so nothing synchronises with the device; one
  copy then transfers it. Letters: B samples, C conditioning rows, S sequence length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch

from unbroken import DataInvalid
from unbroken_tts.model.config import LANGUAGE_TOKENS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unbroken_tts.data.batch import Batch
    from unbroken_tts.model.config import GptConfig

    Indices: TypeAlias = NDArray[np.int64]

Layout = Literal["tight", "legacy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The rows of one kind, text or mel, of all samples; N rows, P of them predict something."""

    ids: torch.Tensor
    """(N,) int64: the input ids, with start and stop."""
    positions: torch.Tensor
    """(N,) int64: rows of the position table."""
    rows: torch.Tensor
    """(N,) int64: their places in the B * S rows of the sequences."""
    picks: torch.Tensor
    """(P,) int64: the rows of the sequences that predict a target, sample after sample."""
    targets: torch.Tensor
    """(P,) int64: the targets."""
    owners: torch.Tensor
    """(P,) int64: the sample of each target, in [0, B)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """The layout of a micro-batch; its tensors are on one device."""

    samples: int
    """Samples of the micro-batch (B)."""
    width: int
    """Rows of the longest sequence (S)."""
    languages: torch.Tensor | None
    """(N,) int64: the language's row for each text row; None where the model has no language table."""
    prefix_rows: torch.Tensor
    """(B * C + B * 2,) int64: places of conditioning and speed rows; the 2 only with speed rows.

    The two zero rows of a model with speaker vectors are nobody's: what no row is put into is zero.
    """
    text: Stream
    """Text rows."""
    mel: Stream
    """Mel rows."""

    @property
    def text_tokens(self) -> int:
        """Text targets: every token and one stop per sample."""
        return len(self.text.picks)

    @property
    def mel_tokens(self) -> int:
        """Mel targets: every code and one stop per sample."""
        return len(self.mel.picks)


@dataclass(frozen=True, slots=True)
class _Kind:
    """The tokens of one kind in host memory, and their places."""

    ids: Indices
    lengths: Indices
    start: int
    stop: int
    offsets: Indices
    """(B,): the row of the start token within its sequence."""
    counts: Indices
    """(B,): number of rows of each sample, including start and stop."""


def lay_out(
    batch: Batch,
    config: GptConfig,
    layout: Layout = "tight",
    *,
    device: torch.device | None = None,
    first_language: int | None = None,
) -> RowPlan:
    """Lay out a micro-batch.

    Args:
        batch: The samples. Lengths on a device make this synchronise; in host memory they don't.
        config: The model.
        layout: tight or legacy.
        device: Device of the plan; the default is host memory.
        first_language: Id of the first language token; None where the model has no language table.

    Raises:
        DataInvalid: A sample is longer than the position tables, or a text has no language token.
    """
    text, codes = _host(batch.text_ids), _host(batch.codes)
    text_lengths, code_lengths = _host(batch.text_lengths), _host(batch.code_lengths)
    _check_lengths(batch.ids, text_lengths, config.longest_text, "text tokens", "text")
    _check_lengths(batch.ids, code_lengths, config.longest_codes, "mel codes", "mel")
    samples, prefix = len(text_lengths), config.prefix_rows
    text_counts, mel_counts = text_lengths + 2, code_lengths + 1
    if layout == "legacy":
        text_counts = np.full(samples, text_counts.max())
        mel_counts = np.full(samples, mel_counts.max() + 1)
    mel_offsets = prefix + text_counts
    width = int((mel_offsets + mel_counts).max())
    texts = _Kind(
        text, text_lengths, config.start_text_token, config.stop_text_token,
        np.full(samples, prefix), text_counts,
    )  # fmt: skip
    mels = _Kind(
        codes, code_lengths, config.start_mel_token, config.stop_mel_token,
        mel_offsets, mel_counts,
    )  # fmt: skip
    streams = (_stream(texts, width), _stream(mels, width))
    arrays = [_prefix_rows(samples, config, width), *streams[0], *streams[1]]
    if first_language is not None:
        languages = _languages(batch.ids, text, text_lengths, first_language)
        arrays.append(np.repeat(languages, text_counts))
    moved = _move(arrays, device)
    return RowPlan(
        samples=samples,
        width=width,
        languages=moved[13] if first_language is not None else None,
        prefix_rows=moved[0],
        text=_as_stream(moved[1:7]),
        mel=_as_stream(moved[7:13]),
    )


def _host(tensor: torch.Tensor) -> Indices:
    array: Indices = tensor.detach().cpu().numpy().astype(np.int64, copy=False)
    return array


def _check_lengths(ids: list[str], lengths: Indices, longest: int, what: str, table: str) -> None:
    if lengths.max(initial=0) <= longest:
        return
    at = int(lengths.argmax())
    raise DataInvalid(
        f"Sample {ids[at]} has {lengths[at]} {what}; the model has positions for {longest}.",
        f"Its last positions have no row in the {table} position table.",
        "Remove the sample, or cut the recording into shorter ones.",
    )


def _languages(ids: list[str], text: Indices, lengths: Indices, first_language: int) -> Indices:
    """Return the row of each sample's language, which the first token of its text names: (B,)."""
    languages: Indices = np.where(lengths > 0, text[:, 0] - first_language, -1)
    wrong = np.flatnonzero((languages < 0) | (languages >= LANGUAGE_TOKENS))
    if len(wrong):
        at = int(wrong[0])
        found = f"begins with token {text[at, 0]}" if lengths[at] else "is empty"
        raise DataInvalid(
            f"The text of sample {ids[at]} {found}, which is no language token.",
            "IndexTTS-2.5 reads the language there; without one it would speak any.",
            "Prepare the texts with --front indextts-2.5 and the tokenizer of 2.5.",
        )
    return languages


def _prefix_rows(samples: int, config: GptConfig, width: int) -> Indices:
    starts = np.arange(samples, dtype=np.int64)[:, None] * width
    split = config.condition_shape[0]
    condition = starts + np.arange(split)
    if config.takes_speaker_vectors:
        return condition.ravel()
    speed = starts + np.arange(split, config.prefix_rows)
    return np.concatenate([condition.ravel(), speed.ravel()])


def _stream(kind: _Kind, width: int) -> tuple[Indices, ...]:
    """Return the arrays of a `Stream`, in its order."""
    samples = np.arange(len(kind.lengths), dtype=np.int64)
    owner, position = _ragged(samples, kind.counts)
    first = samples * width + kind.offsets
    pick_owner, pick_position = _ragged(samples, kind.lengths + 1)
    return (
        _token(kind, owner, position - 1),
        position,
        first[owner] + position,
        first[pick_owner] + pick_position,
        _token(kind, pick_owner, pick_position),
        pick_owner,
    )


def _ragged(samples: Indices, counts: Indices) -> tuple[Indices, Indices]:
    """Return the sample and the position of every row, where sample i has counts[i] rows."""
    owner = np.repeat(samples, counts)
    begins = np.cumsum(counts) - counts
    return owner, np.arange(len(owner), dtype=np.int64) - begins[owner]


def _token(kind: _Kind, owner: Indices, index: Indices) -> Indices:
    """Return the tokens at `index`: start before the first, stop after the last."""
    is_token = (index >= 0) & (index < kind.lengths[owner])
    tokens = np.where(index < 0, kind.start, kind.stop).astype(np.int64)
    tokens[is_token] = kind.ids[owner[is_token], index[is_token]]
    return tokens


def _move(arrays: list[Indices], device: torch.device | None) -> tuple[torch.Tensor, ...]:
    """Copy all arrays to the device in one transfer, from pinned memory for CUDA."""
    is_pinned = device is not None and device.type == "cuda"
    packed = torch.empty(sum(map(len, arrays)), dtype=torch.int64, pin_memory=is_pinned)
    # By numpy: torch would wake all of its threads for the copy, while the card waits for it.
    np.concatenate(arrays, out=packed.numpy())
    packed = packed.to(device, non_blocking=True)
    parts: tuple[torch.Tensor, ...] = torch.split(packed, [len(array) for array in arrays])
    return parts


def _as_stream(parts: tuple[torch.Tensor, ...]) -> Stream:
    ids, positions, rows, picks, targets, owners = parts
    return Stream(
        ids=ids, positions=positions, rows=rows, picks=picks, targets=targets, owners=owners
    )
