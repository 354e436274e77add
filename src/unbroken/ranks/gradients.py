"""The gradients of a step, added up over the processes that each went through a share of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import torch
from torch import distributed

from unbroken.errors import RunMisused
from unbroken.ranks.group import Ranks

BUCKET_BYTES: Final = 32 << 20
"""Bytes that are added up at a time: enough that the network is busy, little enough to hold twice."""
_NONE, _DENSE, _OTHER = range(3)


def add_up(ranks: Ranks, parameters: Sequence[torch.Tensor], sums: dict[str, torch.Tensor]) -> None:
    """Give every rank the gradients and the sums of all of them; one that has none gets them as well.

    The gradients go over PyTorch's default process group, in buckets that depend on shapes alone: what is
    added to what is the same in every step, and after every start with as many processes.

    Args:
        ranks: The processes.
        parameters: What is updated, in the same order on each rank.
        sums: By name, 0-dim; changed in place, in double precision.

    Raises:
        RunMisused: A gradient is sparse.
        RankFailed: A rank ended, or does not answer.
    """
    forms = bytes(_form(each) for each in parameters)
    numbers = {name: float(each) for name, each in sums.items()}
    told = ranks.gather((forms, numbers))
    held = [max(each) for each in zip(*(forms for forms, _ in told), strict=True)]
    if _OTHER in held:
        raise RunMisused(
            "A parameter has a gradient that is not a plain tensor (a sparse embedding?).",
            "The ranks of a run add their gradients up, and have no way to do so for this one.",
            "Use sparse=False, or train in one process.",
        )
    reduced = [each for each, form in zip(parameters, held, strict=True) if form == _DENSE]
    for each in reduced:
        if each.grad is None:
            each.grad = torch.zeros_like(each)
    for bucket in _buckets(reduced):
        _add_up_bucket(bucket)
    for name in sorted({name for _, numbers in told for name in numbers}):
        total = sum(numbers.get(name, 0.0) for _, numbers in told)
        sums[name] = torch.tensor(total, dtype=torch.float64)


def _form(parameter: torch.Tensor) -> int:
    if parameter.grad is None:
        return _NONE
    return _DENSE if parameter.grad.layout is torch.strided else _OTHER


def _buckets(parameters: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Yield gradients of one dtype and device at a time, as many as a bucket holds."""
    bucket: list[torch.Tensor] = []
    size = 0
    for each in parameters:
        assert each.grad is not None
        is_other = bucket and (bucket[0].dtype, bucket[0].device) != (
            each.grad.dtype,
            each.grad.device,
        )
        if is_other or size > BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
        bucket.append(each.grad)
        size += each.grad.numel() * each.grad.element_size()
    if bucket:
        yield bucket


def _add_up_bucket(gradients: Sequence[torch.Tensor]) -> None:
    flat = torch.cat([each.detach().reshape(-1) for each in gradients])
    distributed.all_reduce(flat)
    pieces = flat.split([each.numel() for each in gradients])
    for each, piece in zip(gradients, pieces, strict=True):
        each.detach().copy_(piece.view(each.shape))
