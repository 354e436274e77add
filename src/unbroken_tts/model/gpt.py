"""The voice model: a GPT over conditioning rows, text tokens and mel codes, with two heads.

Letters: B samples, C conditioning rows, D width, S sequence length, V text vocabulary, K mel codes,
P predicting positions. The untrained encoders are not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from unbroken_tts.model.adapters import merged_tensors, plain_name, restrict
from unbroken_tts.model.config import SPEAKER_WIDTH
from unbroken_tts.model.frozen_rows import ExtendedEmbedding, ExtendedLinear
from unbroken_tts.model.gpt2_stack import Gpt2Stack
from unbroken_tts.model.gpt_file import LANGUAGE_TENSOR, TEXT_TENSORS, trained_shapes
from unbroken_tts.model.head_loss import summed_losses
from unbroken_tts.model.initial_values import initial_values
from unbroken_tts.model.language_table import LanguageTable, first_language_id
from unbroken_tts.model.layout import Layout, RowPlan, Stream, lay_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unbroken_tts.data.batch import Batch
    from unbroken_tts.model.config import GptConfig
    from unbroken_tts.model.trained_part import TrainedPart

Head: TypeAlias = ExtendedLinear | nn.Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSums:
    """Sums over the target positions of a micro-batch, or of each of its samples."""

    text_loss_sum: torch.Tensor
    """() float32, or (B,) per sample: cross-entropy of the text targets, nats."""
    mel_loss_sum: torch.Tensor
    """() float32, or (B,) per sample: cross-entropy of the mel targets, nats."""
    mel_top1_hits: torch.Tensor
    """() int64, or (B,) per sample: mel targets that were the most likely code."""
    text_tokens: int
    """Text targets of the whole micro-batch: every token and one stop per sample."""
    mel_tokens: int
    """Mel targets of the whole micro-batch: every code and one stop per sample."""


class PositionTable(nn.Module):
    """A learned position embedding; its parameter has the file's name, `emb.weight`."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(rows, width)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Look up rows: int64 (N,) -> (N, D)."""
        rows: torch.Tensor = self.emb(positions)
        return rows


class VoiceGpt(nn.Module):
    """The trained part of an IndexTTS2-style model.

    The weights are undefined until `load_table`, `load_base` or `initialise` is called.

    Args:
        config: Shapes and special ids.
        vocabulary: Pieces of the tokenizer (V); text tables have one spare row more.
        frozen_rows: Number of first rows of the text tables that are frozen.
        checkpointing: Recompute activations in the backward pass to save memory.
        dropout: Dropout probability in training; None means the configuration's.
        part: What is trained; None trains everything.
        language: Row of the language table that is trained; None for none.
    """

    def __init__(
        self,
        config: GptConfig,
        vocabulary: int,
        frozen_rows: int = 0,
        checkpointing: bool = False,
        dropout: float | None = None,
        part: TrainedPart | None = None,
        language: int | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.lora = part.lora if part else None
        self.first_language: int | None = None
        """Id of the first language token; None where the model has no language table."""
        if config.language_rows:
            self.first_language = first_language_id(vocabulary)
        width, rows = config.model_dim, vocabulary + 1
        # Built on the meta device, without random numbers; `_materialise` allocates storage.
        with torch.device("meta"):
            self.text_embedding = ExtendedEmbedding(rows, width, frozen_rows)
            self.mel_embedding = nn.Embedding(config.number_mel_codes, width)
            self.gpt = Gpt2Stack(
                config,
                config.dropout if dropout is None else dropout,
                checkpointing=checkpointing,
            )
            self.mel_pos_embedding = PositionTable(config.max_mel_tokens + 3, width)
            self.text_pos_embedding = PositionTable(config.max_text_tokens + 2, width)
            self.final_norm = nn.LayerNorm(width, eps=1e-5)
            self.text_head = ExtendedLinear(width, rows, frozen_rows)
            self.mel_head = nn.Linear(width, config.number_mel_codes)
            has_vectors = config.takes_speaker_vectors
            self.speed_emb = (
                nn.Embedding(2, width) if config.speed_rows and not has_vectors else None
            )
            self.spk_emb_proj = nn.Linear(SPEAKER_WIDTH, width) if has_vectors else None
            self.lang_embedding = (
                LanguageTable(config.language_rows, width, language)
                if config.language_rows
                else None
            )
            if part is not None:
                restrict(self, part)
        self.to_empty(device="cpu")

    @property
    def frozen_rows(self) -> int:
        """Number of frozen text rows."""
        return self.text_embedding.frozen

    def initialise(self, seed: int) -> None:
        """Initialise all weights from a seed, without using a global generator."""
        shapes = trained_shapes(self.config, self.vocabulary)
        self.load_table(initial_values(shapes, layers=self.config.layers, seed=seed))

    @torch.no_grad()
    def load_table(self, table: Mapping[str, torch.Tensor]) -> None:
        """Copy the trained tensors, under the names and shapes of a `gpt.pth`, into the model."""
        self.text_embedding.fill(table["text_embedding.weight"])
        self.text_head.fill(table["text_head.weight"], table["text_head.bias"])
        if self.lang_embedding is not None:
            self.lang_embedding.fill(table[LANGUAGE_TENSOR])
        parameters = {plain_name(name): each for name, each in self.named_parameters()}
        for name in trained_shapes(self.config, self.vocabulary):
            if name not in (*TEXT_TENSORS, LANGUAGE_TENSOR):
                parameters[name].copy_(table[name])

    def table(self) -> dict[str, torch.Tensor]:
        """Return the trained tensors under the names and in the order of a `gpt.pth`.

        Text tensors and language table are joined copies, weights with adapters are merged ones; the
        others share the model's memory.
        """
        weight, bias = self.text_head.joined()
        tensors = {name: value.detach() for name, value in self.named_parameters()}
        if self.lora is not None:
            tensors = merged_tensors(tensors, self.lora)
        tensors |= dict(
            zip(TEXT_TENSORS, (self.text_embedding.joined(), weight, bias), strict=True)
        )
        if self.lang_embedding is not None:
            tensors[LANGUAGE_TENSOR] = self.lang_embedding.joined()
        return {name: tensors[name] for name in trained_shapes(self.config, self.vocabulary)}

    def forward(
        self, batch: Batch, layout: Layout = "tight", *, per_sample: bool = False
    ) -> LossSums:
        """Return the sums of the losses of a micro-batch.

        Pass the batch in host memory, as the collate function made it: the layout is computed there
        and copied to the model's device without synchronising. (A batch on the device works too, but
        reading its lengths synchronises.)

        Args:
            batch: The samples.
            layout: tight, or legacy for the earlier trainer's padded one.
            per_sample: Return (B,) tensors instead of scalars.

        Raises:
            DataInvalid: A sample is longer than the position tables, or its language is unknown.
        """
        plan = self.lay_out(batch, layout)
        hidden = self.gpt(self.embed(plan, batch.condition, batch.emo_vec)).flatten(0, 1)
        losses = self._losses_per_sample if per_sample else self._losses
        text_loss, _ = losses(hidden, plan.text, self.text_head, plan.samples)
        mel_loss, hits = losses(hidden, plan.mel, self.mel_head, plan.samples)
        return LossSums(
            text_loss_sum=text_loss,
            mel_loss_sum=mel_loss,
            mel_top1_hits=hits,
            text_tokens=plan.text_tokens,
            mel_tokens=plan.mel_tokens,
        )

    def lay_out(self, batch: Batch, layout: Layout = "tight") -> RowPlan:
        """Lay out a micro-batch on the model's device; see `layout.lay_out`."""
        device = self.final_norm.weight.device
        return lay_out(
            batch, self.config, layout, device=device, first_language=self.first_language
        )

    def embed(self, plan: RowPlan, condition: torch.Tensor, emo_vec: torch.Tensor) -> torch.Tensor:
        """Return the inputs of the transformer: (B, S, D) float32, zeros at padding.

        Args:
            plan: The layout, on the model's device.
            condition: (B, C, D) float32, or (B, 1, 192) speaker vectors.
            emo_vec: (B, D) float32, added to every conditioning row.
        """
        device = plan.prefix_rows.device
        condition = condition.to(device, non_blocking=True)
        if self.spk_emb_proj is not None:
            condition = self.spk_emb_proj(condition)
        prefix = condition + emo_vec.to(device, non_blocking=True).unsqueeze(1)
        rows = [prefix.flatten(0, 1)]
        if self.speed_emb is not None:
            # The order of the original: the row of index 1, then the row of index 0.
            rows.append(self.speed_emb.weight.flip(0).repeat(plan.samples, 1))
        text = self.text_embedding(plan.text.ids) + self.text_pos_embedding(plan.text.positions)
        if self.lang_embedding is not None and plan.languages is not None:
            text = text + self.lang_embedding(plan.languages)
        rows.append(text)
        rows.append(self.embed_codes(plan.mel.ids, plan.mel.positions))
        # Each row is copied to its own place, so the backward pass is a plain gather, which is
        # deterministic on every device; the backward pass of a gather would be a scatter.
        places = torch.cat([plan.prefix_rows, plan.text.rows, plan.mel.rows])
        sequences = prefix.new_zeros(plan.samples * plan.width, prefix.shape[-1])
        return sequences.index_copy(0, places, torch.cat(rows)).view(
            plan.samples, plan.width, prefix.shape[-1]
        )

    def embed_codes(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return the input rows of mel codes: two int64 (N,) -> (N, D)."""
        rows: torch.Tensor = self.mel_embedding(ids) + self.mel_pos_embedding(positions)
        return rows

    def mel_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next code: hidden states (..., D) -> (..., K) float32."""
        logits: torch.Tensor = self.mel_head(self.final_norm(hidden))
        return logits.float()

    def _losses(
        self, hidden: torch.Tensor, stream: Stream, head: Head, _: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cross-entropy, () float32, and hits, () int64, over the target positions."""
        picked = self.final_norm(hidden.index_select(0, stream.picks))
        return summed_losses(picked, head, stream.targets, with_hits=head is self.mel_head)

    def _losses_per_sample(
        self, hidden: torch.Tensor, stream: Stream, head: Head, samples: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cross-entropy, (B,) float32, and hits, (B,) int64, over the target positions."""
        logits = head(self.final_norm(hidden.index_select(0, stream.picks))).float()
        losses = functional.cross_entropy(logits, stream.targets, reduction="none")
        hits = (logits.detach().argmax(dim=-1) == stream.targets).long()
        return (
            losses.new_zeros(samples).index_add(0, stream.owners, losses),
            hits.new_zeros(samples).index_add(0, stream.owners, hits),
        )
