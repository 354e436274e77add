"""Compares the samples, losses, weights and speech of A and B to the last bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unbroken import Checkpoint, RunDirectory, find_checkpoint
from unbroken_tts.demo.runs import Runs
from unbroken_tts.demo.speech import Speech
from unbroken_tts.model.base import read_base
from unbroken_tts.model.gpt_file import TEXT_TENSORS
from unbroken_tts.train.load import load_weights

_SHOWN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """One line of the table."""

    what: str
    """What is compared."""
    size: str
    """The amount compared."""
    first: str
    """Digest of A's, or of the base's."""
    second: str
    """Digest of B's."""

    @property
    def is_equal(self) -> bool:
        """Whether both digests are equal."""
        return self.first == self.second


def prove(runs: Runs, steps: int, speech: Mapping[str, Sequence[Speech]]) -> list[ProofRow]:
    """Compare A with B, and the frozen rows of both with the base.

    Args:
        runs: The finished trainings.
        steps: Number of steps that both must have trained.
        speech: The speech of "A" and "B", in the same order.
    """
    a, b = (_journal(path) for path in (runs.undisturbed, runs.killed))
    rows = [
        _compared("steps trained", f"1 to {steps}", a, b, lambda line: line["step"]),
        _compared("samples used, in order", f"{steps} steps", a, b, _samples),
        _compared("losses", f"{3 * steps} numbers", a, b, _losses),
        _compared("learning rates", f"{steps} numbers", a, b, lambda line: line["lr"]),
        _compared("gradient norms", f"{steps} numbers", a, b, lambda line: line["grad_norm"]),
        _repeated(runs.killed, a),
    ]
    rows += _states(find_checkpoint(runs.undisturbed), find_checkpoint(runs.killed))
    rows += _frozen(runs)
    rows += _audio(speech["A"], speech["B"])
    return rows


def digest(value: Any) -> str:
    """Return BLAKE2b-128 in hex of a value's JSON, with floats that read back the same."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()[:_SHOWN]


def _journal(directory: Path) -> dict[int, dict[str, Any]]:
    return RunDirectory(directory).steps()


def _samples(line: Mapping[str, Any]) -> Any:
    return [line["epoch"], line["samples"], line["sample_digest"]]


def _losses(line: Mapping[str, Any]) -> Any:
    return [line[name] for name in ("loss", "text_loss", "mel_loss")]


def _compared(
    what: str,
    size: str,
    a: Mapping[int, dict[str, Any]],
    b: Mapping[int, dict[str, Any]],
    of: Callable[[Mapping[str, Any]], Any],
) -> ProofRow:
    first, second = (digest([of(lines[step]) for step in sorted(lines)]) for lines in (a, b))
    return ProofRow(what=what, size=size, first=first, second=second)


def _repeated(directory: Path, a: Mapping[int, Mapping[str, Any]]) -> ProofRow:
    """Compare every attempt of the steps that B lost and repeated with A's."""
    lines = [line for line in RunDirectory(directory).lines() if "step" in line]
    counted = [line["step"] for line in lines]
    again = [line for line in lines if counted.count(line["step"]) > 1]
    second = [[*_samples(line), *_losses(line), line["lr"]] for line in again]
    first = [
        [*_samples(a[line["step"]]), *_losses(a[line["step"]]), a[line["step"]]["lr"]]
        for line in again
    ]
    return ProofRow(
        what="steps lost and repeated",
        size=f"{len(lines) - len(set(counted))} steps",
        first=digest(first),
        second=digest(second),
    )


def _states(a: Checkpoint, b: Checkpoint) -> list[ProofRow]:
    """Compare all saved tensors by digest, and other state by value."""
    rows = []
    for what, part in (("weights", "model"), ("optimiser state", "optimizer")):
        first, second = a.digests(part), b.digests(part)
        size = f"{len(first)} tensors"
        rows.append(ProofRow(what=what, size=size, first=digest(first), second=digest(second)))
    first_rest, second_rest = (
        repr([run.position, run.part("scheduler"), run.part("best")]) for run in (a, b)
    )
    return [
        *rows,
        ProofRow(
            what="position, schedule, best score",
            size="all fields",
            first=digest(first_rest),
            second=digest(second_rest),
        ),
    ]


def _frozen(runs: Runs) -> list[ProofRow]:
    """Compare the base rows of the text tables with the base's gpt.pth, by `torch.equal`."""
    base = read_base(runs.base)
    rows = []
    for name, directory in (("A", runs.undisturbed), ("B", runs.killed)):
        table = load_weights(directory).model.table()
        pairs = [(base.trained[each][: base.vocabulary],
                  table[each][: base.vocabulary]) for each in TEXT_TENSORS]  # fmt: skip
        equal = all(torch.equal(first, second) for first, second in pairs)
        first, second = (tensor_digest([pair[side] for pair in pairs]) for side in (0, 1))
        rows.append(
            ProofRow(
                what=f"frozen base rows: base and {name}",
                size=f"{base.vocabulary} rows x {len(pairs)} tables",
                first=first,
                second=second if equal else f"differs {second}",
            )
        )
    return rows


def tensor_digest(tensors: Sequence[torch.Tensor]) -> str:
    """Return BLAKE2b-128 in hex of the bytes of tensors, one after the other."""
    hasher = hashlib.blake2b(digest_size=16)
    for each in tensors:
        hasher.update(each.detach().contiguous().numpy().tobytes())
    return hasher.hexdigest()[:_SHOWN]


def _audio(a: Sequence[Speech], b: Sequence[Speech]) -> list[ProofRow]:
    codes = [digest([each.codes for each in side]) for side in (a, b)]
    waves = [digest([each.digest for each in side]) for side in (a, b)]
    return [
        ProofRow(
            what="codes spoken",
            size=f"{sum(len(each.codes) for each in a)} codes",
            first=codes[0],
            second=codes[1],
        ),
        ProofRow(what="audio files", size=f"{len(a)} WAV files", first=waves[0], second=waves[1]),
    ]
