"""The command `unbroken-tts evaluate`: the losses of given weights over manifests."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unbroken import SettingsInvalid
from unbroken_tts.cli.weights_flags import add_form_flags, form_choice, print_notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unbroken_tts.cli.main import Parser
    from unbroken_tts.data.batch import Batch
    from unbroken_tts.data.pairs import Pairs
    from unbroken_tts.evaluate import Scores
    from unbroken_tts.model.config import GptConfig

DESCRIPTION: Final = """\
Print text_loss, mel_loss and mel_top1 over manifests. Each is a mean over all tokens, so the
figures don't depend on how samples are batched.

  unbroken-tts evaluate training_output --manifest preprocessed_amharic/val_pairs.jsonl
  unbroken-tts evaluate checkpoints/gpt.pth --manifest val_pairs.jsonl --per-sample --json"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add the command with its flags to the program."""
    parser = subparsers.add_parser(
        "evaluate",
        help="print the losses of a run, a checkpoint or a gpt.pth over manifests",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("weights", metavar="CHECKPOINT", type=Path, help="a run, a checkpoint or a weights file")
    add(
        "--manifest",
        metavar="FILE",
        action="append",
        required=True,
        help="paired manifest (JSON Lines); repeat the flag to mix data sets",
    )
    add(
        "--config",
        metavar="FILE",
        type=Path,
        default=Path("checkpoints/config.yaml"),
        help="model configuration of a weights file; a run has its own [checkpoints/config.yaml]",
    )
    add("--batch-size", metavar="N", type=int, default=8, help="samples in a forward pass [8]")
    add(
        "--layout",
        metavar="tight|legacy",
        choices=("tight", "legacy"),
        default="tight",
        help="layout of a batch; legacy is the earlier trainer's [tight]",
    )
    add("--ema", action="store_true", help="use the moving average of a run's weights")
    add("--per-sample", action="store_true", help="also print the losses of each sample")
    add("--json", action="store_true", help="print one JSON object")
    add_form_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print; return the exit code."""
    if arguments.batch_size < 1:
        raise SettingsInvalid(
            f"--batch-size is {arguments.batch_size}, but must be 1 or more.",
            "A forward pass needs at least one sample.",
            "Give --batch-size a whole number from 1, or omit it (8).",
        )
    from unbroken_tts.cli.weights import open_weights
    from unbroken_tts.data.manifest import load_pairs
    from unbroken_tts.evaluate import evaluate

    pairs = load_pairs(arguments.manifest)
    weights = open_weights(
        arguments.weights,
        arguments.config,
        averaged=arguments.ema,
        choice=form_choice(arguments),
    )
    print_notes(weights.notes)
    model = weights.model
    checked = _checked(pairs, model.config, model.vocabulary)
    batches = _batches(checked, arguments.batch_size, model.config)
    scores = evaluate(model, batches, layout=arguments.layout)
    _print(scores, per_sample=arguments.per_sample, as_json=arguments.json)
    return 0


def _checked(pairs: Pairs, config: GptConfig, vocabulary: int) -> Pairs:
    """Check every sample against the model's limits before the first forward pass."""
    from unbroken_tts.data.limits import Limits
    from unbroken_tts.data.preflight import preflight

    limits = Limits(
        vocabulary=vocabulary,
        start_mel_token=config.start_mel_token,
        max_text_tokens=config.max_text_tokens,
        max_mel_tokens=config.max_mel_tokens,
        condition_rows=config.condition_shape[0],
        condition_width=config.condition_shape[1],
        model_dim=config.model_dim,
    )
    # Evaluation leaves no files behind, so the preflight's cache is temporary.
    with tempfile.TemporaryDirectory() as folder:
        return preflight(pairs, limits, Path(folder) / "facts").pairs


def _batches(pairs: Pairs, size: int, config: GptConfig) -> Iterator[Batch]:
    """Yield the samples in manifest order, `size` at a time."""
    from unbroken_tts.data.samples import PairDataset, collate

    dataset = PairDataset(pairs)
    for start in range(0, len(dataset), size):
        samples = [dataset[index] for index in range(start, min(start + size, len(dataset)))]
        yield collate(
            samples,
            stop_text_token=config.stop_text_token,
            stop_mel_token=config.stop_mel_token,
        )


def _print(scores: Scores, *, per_sample: bool, as_json: bool) -> None:
    """Print one JSON object, or aligned lines."""
    found: dict[str, Any] = asdict(scores)
    samples = found.pop("per_sample")
    found["samples"] = len(samples)
    if as_json:
        json.dump(found | ({"per_sample": samples} if per_sample else {}), sys.stdout)
        print()
        return
    for row in samples if per_sample else ():
        figures = " ".join(f"{name}={row[name]:.6f}" for name in _FIGURES)
        print(f"{figures} {row['id']}")
    print(" ".join(f"{name}={found[name]:.6f}" for name in _FIGURES), end=" ")
    print(" ".join(f"{name}={found[name]}" for name in ("text_tokens", "mel_tokens", "samples")))


_FIGURES: Final = ("text_loss", "mel_loss", "mel_top1")
