"""The steps that `replay_bounds.py` repeats: a small transformer on made-up tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

WIDTH, LAYERS, VOCABULARY, BATCH, LENGTH = 128, 3, 512, 8, 48
SCALE = 2.0**12
"""Of the loss in fp16; it stays, for nothing overflows here."""
ATTENTION = ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH")
"""Torch's kernels; it takes one of those that are allowed."""
Lines = list[tuple[float, float]]
"""Loss and gradient norm of each step."""


class Model(nn.Module):
    """A small causal transformer without dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        layer = nn.TransformerEncoderLayer(
            width, width // 32, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the summed loss of predicting tokens (B, T) int64 from those before."""
        mask = nn.Transformer.generate_square_subsequent_mask(
            tokens.shape[1] - 1, device=tokens.device
        )
        hidden = self.layers(self.embedding(tokens[:, :-1]), mask=mask, is_causal=True)
        logits = self.head(hidden).float()
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum"
        )


def train(job: dict[str, Any]) -> Lines:
    """Train as a job says; return loss and gradient norm of each step."""
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    width = job.get("width", WIDTH)
    model = Model(width).to(job["device"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3 * WIDTH / width)
    if Path(job["state"]).is_file():
        found = torch.load(job["state"], weights_only=True, map_location="cpu")
        model.load_state_dict(found["model"])
        optimizer.load_state_dict(found["optimizer"])
    if job.get("planted"):
        leaf = model.layers.layers[1]
        with torch.no_grad():
            (leaf.linear1 if job["planted"] == "matrix" else leaf.norm1).weight.mul_(1.01)
    steps = range(job["first"], job["first"] + job["steps"])
    with kernels(job):
        lines = [one_step(model, optimizer, step, job) for step in steps]
    if job.get("save"):
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, job["state"])
    return lines


@contextmanager
def kernels(job: dict[str, Any]) -> Iterator[None]:
    """Let torch compute with the kernels that a job names; afterwards with its own again."""
    torch.set_float32_matmul_precision("high" if job["precision"] == "tf32" else "highest")
    if not job["device"].startswith("cuda"):
        yield
        return
    products = torch.backends.cuda.matmul
    attention = [getattr(SDPBackend, each) for each in job.get("attention", ATTENTION)]
    products.allow_bf16_reduced_precision_reduction = job.get("reduced", True)
    products.allow_fp16_reduced_precision_reduction = job.get("reduced", True)
    before = torch.backends.cuda.preferred_blas_library()
    torch.backends.cuda.preferred_blas_library(job.get("blas", before))
    torch.use_deterministic_algorithms(job.get("deterministic", False))
    try:
        with sdpa_kernel(attention):
            yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cuda.preferred_blas_library(before)


def one_step(
    model: Model, optimizer: torch.optim.Optimizer, step: int, job: dict[str, Any]
) -> tuple[float, float]:
    """Make one step on tokens that follow from its number."""
    own = torch.Generator().manual_seed(1000 * job["seed"] + step)
    ramp = torch.arange(LENGTH + 1) * torch.randint(1, 7, (BATCH, 1), generator=own)
    tokens = (ramp + torch.randint(0, 64, (BATCH, LENGTH + 1), generator=own)) % VOCABULARY
    total = torch.zeros((), device=job["device"])
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(job["precision"])
    scale = SCALE if job["precision"] == "fp16" else 1.0
    for part in tokens.to(job["device"]).split(job["micro"]):
        with torch.autocast(torch.device(job["device"]).type, kind, enabled=kind is not None):
            loss = model(part) / (BATCH * LENGTH)
        (loss * scale).backward()
        total += loss.detach()
    if scale != 1:
        for each in model.parameters():
            assert each.grad is not None
            each.grad.div_(scale)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(total), float(norm)
