"""Generates mel codes autoregressively from conditioning and text.

Letters: B samples, C conditioning rows, D width, K mel codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unbroken import SettingsInvalid
from unbroken_tts.data.batch import Batch
from unbroken_tts.model.key_value_cache import KeyValueCache
from unbroken_tts.model.layout import RowPlan
from unbroken_tts.model.sampling import Sampling, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unbroken_tts.model.gpt import VoiceGpt


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRequest:
    """A text to speak, with the conditioning of the voice."""

    text_ids: Sequence[int]
    """Token ids of the text, without start and stop."""
    condition: torch.Tensor
    """(C, D) float32: speaker conditioning."""
    emo_vec: torch.Tensor
    """(D,) float32: emotion vector."""


def generate(
    model: VoiceGpt,
    utterances: Sequence[SpeechRequest],
    sampling: Sampling,
    *,
    max_codes: int | None = None,
    cached: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[int]]:
    """Return the mel codes of each utterance, without start and stop.

    Every utterance has its own generator, so the result does not depend on the others. The global
    generators and the modes of the model are restored.

    Args:
        model: The voice; runs in eval mode.
        utterances: At least one.
        sampling: The sampling settings.
        max_codes: Largest number of codes; None means the number of positions of the model.
        cached: Use a key-value cache; without it each code recomputes the whole sequence, with
            the same result up to rounding.
        progress: Called with (codes of the longest utterance so far, largest possible number).

    Raises:
        SettingsInvalid: `max_codes` is not in 1 .. positions of the model.
        DataInvalid: A text is longer than the position table.
    """
    longest = model.config.longest_codes
    limit = longest if max_codes is None else max_codes
    if not 1 <= limit <= longest:
        raise SettingsInvalid(
            f"The length limit is {limit} codes; the model has positions for 1 to {longest}.",
            "The model can't compute a code after its last position.",
            f"Set a limit of at most {longest} codes.",
        )
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            return _generate(model, utterances, sampling, limit, cached=cached, progress=progress)
    finally:
        for module, training in modes:
            module.training = training


def _generate(
    model: VoiceGpt,
    utterances: Sequence[SpeechRequest],
    sampling: Sampling,
    limit: int,
    *,
    cached: bool,
    progress: Callable[[int, int], None] | None,
) -> list[list[int]]:
    speaking = _Speaking(model, _as_batch(model, utterances), limit) if cached else None
    codes: list[list[int]] = [[] for _ in utterances]
    draws = [torch.Generator().manual_seed(sampling.seed) for _ in utterances]
    running = set(range(len(utterances)))
    for done in range(limit):
        logits = speaking.logits() if speaking else next_code_logits(model, utterances, codes)
        for row, scores in enumerate(_allowed(logits, model).cpu()):
            if row not in running:
                continue
            code = choose(scores, codes[row], sampling, draws[row])
            if code == model.config.stop_mel_token:
                running.discard(row)
            else:
                codes[row].append(code)
        if progress is not None:
            progress(done + 1, limit)
        if not running or done + 1 == limit:
            break
        if speaking:
            speaking.feed([row[-1] if row else 0 for row in codes])
    return codes


def next_code_logits(
    model: VoiceGpt, utterances: Sequence[SpeechRequest], codes: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Return the logits of the next code, computed without a cache: (B, K) float32."""
    batch = _as_batch(model, utterances, codes)
    plan = model.lay_out(batch)
    hidden = model.gpt(model.embed(plan, batch.condition, batch.emo_vec))
    return model.mel_logits(hidden.flatten(0, 1).index_select(0, _last_rows(plan)))


def _last_rows(plan: RowPlan) -> torch.Tensor:
    """Return the row of each sample's newest code (or start token): (B,) int64."""
    is_last = torch.ones_like(plan.mel.owners, dtype=torch.bool)
    is_last[:-1] = plan.mel.owners[1:] != plan.mel.owners[:-1]
    return plan.mel.picks[is_last]


def _allowed(logits: torch.Tensor, model: VoiceGpt) -> torch.Tensor:
    """Mask all logits except those of codes and the stop token."""
    config = model.config
    allowed = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    allowed[: min(config.start_mel_token, config.stop_mel_token)] = True
    allowed[config.stop_mel_token] = True
    return logits.masked_fill(~allowed, float("-inf"))


class _Speaking:
    """The state of cached generation: sequences of unequal length growing by one row each."""

    def __init__(self, model: VoiceGpt, batch: Batch, limit: int) -> None:
        self.model = model
        device = model.final_norm.weight.device
        plan = model.lay_out(batch)
        self.cache = KeyValueCache(room=plan.width + limit - 1)
        hidden = model.gpt(model.embed(plan, batch.condition, batch.emo_vec), self.cache)
        last = _last_rows(plan)
        self.newest = hidden.flatten(0, 1).index_select(0, last)
        self.lengths = last - torch.arange(plan.samples, device=device) * plan.width + 1
        self.fed = 0

    def logits(self) -> torch.Tensor:
        """Return the logits of the next code: (B, K) float32."""
        return self.model.mel_logits(self.newest)

    def feed(self, codes: list[int]) -> None:
        """Append one code to every sequence; for an ended one the code doesn't matter."""
        self.fed += 1
        ids = torch.tensor(codes, device=self.lengths.device)
        rows = self.model.embed_codes(ids, torch.full_like(ids, self.fed)).unsqueeze(1)
        mask = self.cache.open(self.lengths)
        self.newest = self.model.gpt(rows, self.cache, mask).squeeze(1)
        self.lengths = self.lengths + 1


def _as_batch(
    model: VoiceGpt,
    utterances: Sequence[SpeechRequest],
    codes: Sequence[Sequence[int]] | None = None,
) -> Batch:
    texts = [list(utterance.text_ids) for utterance in utterances]
    spoken = [list(row) for row in codes] if codes else [[] for _ in utterances]
    text_ids, text_lengths = _padded(texts, model.config.stop_text_token)
    code_ids, code_lengths = _padded(spoken, model.config.stop_mel_token)
    return Batch(
        ids=[f"utterance {index}" for index in range(len(texts))],
        text_ids=text_ids,
        text_lengths=text_lengths,
        codes=code_ids,
        code_lengths=code_lengths,
        condition=torch.stack([utterance.condition for utterance in utterances]),
        emo_vec=torch.stack([utterance.emo_vec for utterance in utterances]),
    )


def _padded(rows: list[list[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(row) for row in rows)
    padded = [row + [padding] * (width - len(row)) for row in rows]
    ids = torch.tensor(padded, dtype=torch.int64).view(len(rows), width)
    return ids, torch.tensor([len(row) for row in rows])
