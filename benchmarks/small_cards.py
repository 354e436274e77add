"""What of the real model fits into cards of 12, 16 and 24 GB: calculated, not measured on such cards.

    python benchmarks/small_cards.py

Weights, gradients and moments are counted. Activations are taken from the H100: what a sample of a
micro-batch took there when all layers were trained. Frozen layers need no more than that.
"""

from __future__ import annotations

from dataclasses import dataclass

from expectations import GIB_A_SAMPLE
from trained_parts import RANK, Way
from workload import Workload

from unbroken_tts.hardware import BYTES_SAVED, Hardware, memory_need, plan_batch
from unbroken_tts.hardware.memory import GB

LAYERS, VOCABULARY = 24, 12_000
WAYS = (
    Way(name="all layers", layers="all"),
    Way(name=f"LoRA, rank {RANK}, and the text tables", layers="text", rank=RANK),
    Way(name=f"LoRA, rank {RANK}", layers="none", rank=RANK),
    Way(name="--train-layers last:4", layers="last:4"),
)
# The lowest figures seen for their labels (unbroken_tts/hardware/batch_plan.py).
CARDS = {"12 GB": 11.7, "16 GB": 14.6, "24 GB": 22.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A training on a card."""

    batch: str
    trained: int
    fixed: float
    """GB of weights, gradients and moments."""
    peak: float
    """GB with activations."""
    room: float
    """GB of the card."""


def fit(way: Way, reported_gib: float) -> Fit:
    """Return what a way of training needs on a card, with the batch that the trainer chooses."""
    work = Workload(
        layers=LAYERS, width=1280, heads=20, vocabulary=VOCABULARY, codes=8_192, dropout=0.1,
        batch=1, steps=1, shrink=1, threads=1, precision="bf16",
    )  # fmt: skip
    hardware = Hardware(
        device="cuda:0", name="", memory_gib=reported_gib, cores=16, has_bf16=True, has_tf32=True
    )
    trained, frozen = way.part(LAYERS).numbers(work.config(), VOCABULARY)
    plan = plan_batch(hardware, freed=BYTES_SAVED * frozen)
    fixed = memory_need(hardware, trained, frozen=frozen, has_average=False).device / GB
    return Fit(
        batch=f"{plan.batch} x {plan.accumulation}",
        trained=trained,
        fixed=fixed,
        peak=fixed + GIB_A_SAMPLE * plan.batch * 2**30 / GB,
        room=reported_gib * 2**30 / GB,
    )


def main() -> None:
    """Run as a script."""
    print("| card | trained | numbers | batch, chosen | GB for weights, gradients, moments | "
          "GB at the peak, about | GB of the card | |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for card, reported_gib in CARDS.items():
        for way in WAYS:
            found = fit(way, reported_gib)
            print(
                f"| {card} | {way.name} | {found.trained / 1e6:.1f} M | {found.batch} | "
                f"{found.fixed:.1f} | {found.peak:.1f} | {found.room:.1f} | calculated |"
            )


if __name__ == "__main__":
    main()
