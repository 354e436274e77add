"""The earlier trainer's way, rebuilt from how it behaves.

Random order, text and mel padded apart to the longest of the micro-batch, every block recomputed in
the backward pass, logits at every position, token means of the micro-batch, AdamW over one group with
torch's defaults. It has the dropout, the blocks and the (fused) GELU of the present one, so that what
is compared is the way of training. It holds no untrained encoders, which the earlier trainer also kept
in memory and in each of its files.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from earlier_save import write_twice
from length_mix import make_samples
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from workload import (
    CLIP,
    LEARNING_RATE,
    MEL_WEIGHT,
    TEXT_WEIGHT,
    WEIGHT_DECAY,
    SaveTimes,
    Workload,
)

from unbroken_tts.data.samples import collate
from unbroken_tts.model.gpt_file import trained_shapes
from unbroken_tts.model.initial_values import initial_values

if TYPE_CHECKING:
    from unbroken_tts.data.batch import Batch
    from unbroken_tts.model.config import GptConfig


class EarlierGpt(nn.Module):
    """The model as the earlier trainer ran it."""

    def __init__(self, config: GptConfig, vocabulary: int) -> None:
        super().__init__()
        from transformers.models.gpt2.configuration_gpt2 import GPT2Config
        from transformers.models.gpt2.modeling_gpt2 import GPT2Block

        self.config = config
        width, dropout = config.model_dim, config.dropout
        blocks = GPT2Config(
            n_embd=width,
            n_layer=config.layers,
            n_head=config.heads,
            activation_function="gelu_pytorch_tanh",
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            resid_pdrop=dropout,
            attn_implementation="sdpa",
        )
        self.text_embedding = nn.Embedding(vocabulary + 1, width)
        self.mel_embedding = nn.Embedding(config.number_mel_codes, width)
        self.drop = nn.Dropout(dropout)
        self.h = nn.ModuleList(GPT2Block(blocks, layer_idx=index) for index in range(config.layers))
        self.ln_f = nn.LayerNorm(width)
        self.mel_positions = nn.Embedding(config.max_mel_tokens + 3, width)
        self.text_positions = nn.Embedding(config.max_text_tokens + 2, width)
        self.final_norm = nn.LayerNorm(width)
        self.text_head = nn.Linear(width, vocabulary + 1)
        self.mel_head = nn.Linear(width, config.number_mel_codes)
        self.speed_emb = nn.Embedding(2, width)
        self._fill(vocabulary)

    @torch.no_grad()
    def _fill(self, vocabulary: int) -> None:
        """Start from the same values as the present model."""
        shapes = trained_shapes(self.config, vocabulary)
        values = initial_values(shapes, layers=self.config.layers, seed=1)
        renamed = {
            name.removeprefix("gpt.")
            .replace("mel_pos_embedding.emb", "mel_positions")
            .replace("text_pos_embedding.emb", "text_positions"): value
            for name, value in values.items()
        }
        self.load_state_dict(renamed)

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return text loss, mel loss and mel_top1 of a micro-batch, each a mean over its tokens."""
        config = self.config
        text = _framed(batch.text_ids, config.start_text_token, config.stop_text_token)
        mel = _framed(batch.codes, config.start_mel_token, config.stop_mel_token)
        speed = self.speed_emb.weight.flip(0).expand(len(text), -1, -1)
        parts = [
            batch.condition + batch.emo_vec.unsqueeze(1),
            speed,
            self.text_embedding(text) + self.text_positions.weight[: text.shape[1]],
            self.mel_embedding(mel) + self.mel_positions.weight[: mel.shape[1]],
        ]
        hidden = self.drop(torch.cat(parts, dim=1))
        for block in self.h:
            hidden = checkpoint(block, hidden, use_reentrant=False)
        hidden = self.final_norm(self.ln_f(hidden))
        text_logits = self.text_head(hidden[:, -text.shape[1] - mel.shape[1] : -mel.shape[1]])
        mel_logits = self.mel_head(hidden[:, -mel.shape[1] :])
        text_loss, _ = _mean_loss(text_logits, text, batch.text_lengths, config.stop_text_token)
        mel_loss, top1 = _mean_loss(mel_logits, mel, batch.code_lengths, config.stop_mel_token)
        return text_loss, mel_loss, top1


def _framed(ids: torch.Tensor, start: int, stop: int) -> torch.Tensor:
    """Return [start, ids (padded with stop), stop]: (B, T) -> (B, T + 2)."""
    return functional.pad(functional.pad(ids, (1, 0), value=start), (0, 1), value=stop)


def _mean_loss(
    logits: torch.Tensor, inputs: torch.Tensor, lengths: torch.Tensor, stop: int
) -> tuple[torch.Tensor, torch.Tensor]:
    targets = functional.pad(inputs[:, 1:], (0, 1), value=stop)
    rows = torch.arange(inputs.shape[1], device=inputs.device)
    counted = rows < (lengths + 1).unsqueeze(1)
    losses = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    with torch.no_grad():
        top1 = (logits[counted].argmax(dim=-1) == targets[counted]).float().mean()
    return (losses * counted).sum() / counted.sum(), top1


class EarlierWay:
    """Its loop: one random micro-batch a step, two files a checkpoint."""

    def __init__(self, work: Workload, directory: Path) -> None:
        self.work = work
        self.config = work.config()
        self.lengths = work.lengths()
        self.samples = make_samples(self.lengths, self.config, work.vocabulary)
        self.autocast = work.autocast()
        self.model = EarlierGpt(self.config, work.vocabulary).train()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min(1.0, step / 10)
        )
        self.directory = directory / "earlier"
        self.directory.mkdir()
        self.done = 0
        self.order: list[int] = []
        torch.manual_seed(1)

    def train(self, steps: int) -> int:
        """Train some steps; return their targets."""
        return sum(self._step() for _ in range(steps))

    def _step(self) -> int:
        if not self.order:
            self.order = torch.randperm(len(self.samples)).tolist()
        indices, self.order = self.order[: self.work.batch], self.order[self.work.batch :]
        batch = collate(
            [self.samples[index] for index in indices],
            stop_text_token=self.config.stop_text_token,
            stop_mel_token=self.config.stop_mel_token,
        )
        with self.autocast():
            text_loss, mel_loss, _ = self.model(batch)
            loss = TEXT_WEIGHT * text_loss + MEL_WEIGHT * mel_loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        return int((batch.text_lengths + 1).sum() + (batch.code_lengths + 1).sum())

    def save(self) -> SaveTimes:
        """Write the whole state twice, as model_step{N}.pth and latest.pth; fsync the second."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "step": self.done,
        }
        for old in self.directory.glob("model_step*.pth"):
            old.unlink()
        began = time.perf_counter()
        files = write_twice(state, self.directory, self.done)
        total = time.perf_counter() - began
        size = sum(path.stat().st_size for path in files)
        return SaveTimes(stall=total, total=total, size=size)
