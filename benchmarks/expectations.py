"""What to expect of a card that was not measured: calculated from the H100's figures and data sheets.

    python benchmarks/expectations.py

A step's time on the H100 splits into what its matrix units limit (products, attention) and what its
memory limits (the rest of the profile). Each is scaled by the data sheets' figures of the other card.
Heat, slower processors and slower memory modes are not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gpu_flops import trained_numbers
from workload import Workload

from unbroken_tts.hardware import Hardware, plan_batch
from unbroken_tts.hardware.memory import GB, memory_need

TOKENS_A_SECOND = 93_634
"""Measured on the H100: 24 layers, 1280 wide, bf16, dropout 0.1, no `torch.compile` (docs/benchmarks.md)."""
TOKENS_A_SAMPLE = 168_320 / (8 * 64)
"""Of the measured samples: targets of text and codes, with their stops."""
OF_MATRIX_UNITS = 0.58
"""Share of the measured time in matrix products and attention, from the card's profile."""
GIB_A_SAMPLE = (58.6 - 7.9) / 64
"""Measured peak less what weights, gradients and moments take, by samples in a micro-batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card by its data sheet."""

    name: str
    teraflops: float
    """Dense bf16 products with fp32 sums, TFLOP/s."""
    terabytes: float
    """Memory bandwidth, TB/s."""
    reported_gib: float
    """Memory that it reports."""


H100 = Card(name="H100 80 GB", teraflops=989.4, terabytes=3.35, reported_gib=79.2)
# NVIDIA's data sheets of H100, A100 and L4 (without sparsity), and its GA102 and Ada white papers.
CARDS = (
    Card(name="A100 80 GB", teraflops=312.0, terabytes=2.04, reported_gib=79.2),
    Card(name="A100 40 GB", teraflops=312.0, terabytes=1.56, reported_gib=39.4),
    Card(name="L4 24 GB", teraflops=121.0, terabytes=0.30, reported_gib=22.0),
    Card(name="RTX 4090 24 GB", teraflops=165.2, terabytes=1.01, reported_gib=23.5),
    Card(name="RTX 3090 24 GB", teraflops=71.0, terabytes=0.94, reported_gib=23.5),
)


def tokens_a_second(card: Card) -> float:
    """Return the calculated speed."""
    slower = (
        OF_MATRIX_UNITS * H100.teraflops / card.teraflops
        + (1 - OF_MATRIX_UNITS) * H100.terabytes / card.terabytes
    )
    return TOKENS_A_SECOND / slower


def row(card: Card, numbers: int) -> str:
    """Return a line of the table."""
    hardware = Hardware(
        device="cuda:0", name=card.name, memory_gib=card.reported_gib, cores=16, has_bf16=True,
        has_tf32=True,
    )  # fmt: skip
    plan = plan_batch(hardware)
    speed = TOKENS_A_SECOND if card is H100 else tokens_a_second(card)
    hours = 10_000 * plan.effective * TOKENS_A_SAMPLE / speed / 3600
    fixed = memory_need(hardware, numbers, has_average=False).device
    peak = fixed / GB + GIB_A_SAMPLE * plan.batch * 2**30 / GB
    source = "measured" if card is H100 else "calculated"
    return (
        f"| {card.name} | {plan.batch} x {plan.accumulation} | {speed:,.0f} | {hours:.1f} | "
        f"{fixed / GB:.1f} | {peak:.0f} | {source} |"
    )


def main() -> None:
    """Run as a script."""
    work = Workload(
        layers=24, width=1280, heads=20, vocabulary=12_000, codes=8_192, dropout=0.1, batch=64,
        steps=8, shrink=1, threads=1, precision="bf16",
    )  # fmt: skip
    numbers = trained_numbers(work.config(), 12_000)
    print(f"{numbers / 1e6:.0f} million trained numbers; torch {torch.__version__}")
    print("| card | batch, chosen | tokens / second | hours for 10,000 steps | GB for weights, "
          "gradients, moments | GB at the peak, about | |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for card in (H100, *CARDS):
        print(row(card, numbers))


if __name__ == "__main__":
    main()
