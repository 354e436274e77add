from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.tiny_model import tiny_batch, tiny_config, tiny_model
from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken_tts.model.generate import (
    SpeechRequest,
    _as_batch,
    _Speaking,
    generate,
    next_code_logits,
)
from unbroken_tts.model.sampling import Sampling, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unbroken_tts.model.gpt import VoiceGpt

LENGTHS = [(5, 1), (14, 1), (1, 1)]


def _voice() -> VoiceGpt:
    """Return a model of contrasts: with small random weights all codes were about equally likely."""
    model = tiny_model(seed=6)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() > 1:
                value.mul_(12 if "emb" in name else 6)
    return model


def _utterances(count: int = 3) -> list[SpeechRequest]:
    batch = tiny_batch(LENGTHS[:count])
    return [
        SpeechRequest(
            text_ids=batch.text_ids[i, : batch.text_lengths[i]].tolist(),
            condition=batch.condition[i],
            emo_vec=batch.emo_vec[i],
        )
        for i in range(count)
    ]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_with_and_without_cache_the_same_codes() -> None:
    """Greedy codes are identical, for texts of unequal length side by side."""
    model = _voice()
    cached = generate(model, _utterances(), Sampling())
    assert cached == generate(model, _utterances(), Sampling(), cached=False)
    assert len({len(set(codes)) for codes in cached} - {0, 1}) > 0


def test_with_and_without_cache_the_same_logits() -> None:
    """At every code the logits agree to rounding."""
    model, utterances = _voice().eval(), _utterances()
    codes: list[list[int]] = [[], [], []]
    with torch.inference_mode():
        speaking = _Speaking(model, _as_batch(model, utterances), limit=11)
        for step in range(10):
            torch.testing.assert_close(
                next_code_logits(model, utterances, codes), speaking.logits(), rtol=1e-4, atol=1e-4
            )
            new = [(7 * step + row) % 32 for row in range(3)]
            codes = [[*row, code] for row, code in zip(codes, new, strict=True)]
            speaking.feed(new)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(greedy=False, seed=3, top_k=9)])
def test_an_utterance_does_not_depend_on_the_others(sampling: Sampling) -> None:
    """Alone or among others, an utterance gets the same codes."""
    model, utterances = _voice(), _utterances()
    together = generate(model, utterances, sampling)
    assert together == [generate(model, [one], sampling)[0] for one in utterances]


def test_the_same_seed_says_the_same() -> None:
    """Sampling is a function of the seed and leaves the global generator alone."""
    model, before = _voice(), torch.get_rng_state()
    one, other, third = (
        generate(model, _utterances(1), Sampling(greedy=False, seed=seed, temperature=2.0))
        for seed in (4, 4, 5)
    )
    assert one == other
    assert one != third
    assert torch.equal(before, torch.get_rng_state())


def test_codes_are_codes() -> None:
    """Neither start nor stop nor anything beyond the code book is ever returned."""
    codes = generate(_voice(), _utterances(), Sampling(greedy=False, temperature=50.0))
    assert all(0 <= code < 32 for row in codes for code in row)


def test_speech_ends_at_the_stop_token() -> None:
    """A model that is sure of the stop token says nothing more."""
    model = tiny_model()
    with torch.no_grad():
        model.mel_head.bias[model.config.stop_mel_token] = 100.0
    assert [[], [], []] == generate(model, _utterances(), Sampling())


def test_speech_ends_at_the_limit() -> None:
    """Without a stop it ends at the limit asked for, or with the position table."""
    model = tiny_model()
    with torch.no_grad():
        model.mel_head.bias[model.config.stop_mel_token] = -100.0
    assert [5] == [len(codes) for codes in generate(model, _utterances(1), Sampling(), max_codes=5)]
    assert [41] == [len(codes) for codes in generate(model, _utterances(1), Sampling())]


@pytest.mark.parametrize("limit", [0, 42])
def test_an_impossible_limit_is_refused(limit: int) -> None:
    """There is no position for a 42nd code."""
    with pytest.raises(SettingsInvalid, match="1 to 41"):
        generate(tiny_model(), _utterances(), Sampling(), max_codes=limit)


def test_a_text_too_long_is_refused() -> None:
    """A text needs a row of the position table for each token."""
    one = SpeechRequest(text_ids=[3] * 21, condition=torch.zeros(4, 12), emo_vec=torch.zeros(12))
    with pytest.raises(DataInvalid, match="21 text tokens"):
        generate(tiny_model(), [one], Sampling())


def test_modes_are_put_back() -> None:
    """A model in training mode speaks without dropout and goes on training."""
    model = tiny_model(dropout=0.5).train()
    first = generate(model, _utterances(), Sampling(), max_codes=6)
    assert first == generate(model, _utterances(), Sampling(), max_codes=6)
    assert all(module.training for module in model.modules())


def test_a_model_without_speed_rows_speaks() -> None:
    """The prefix is as long as the configuration says."""
    model = tiny_model(tiny_config(speed_rows=False))
    cached = generate(model, _utterances(), Sampling(), max_codes=6)
    assert cached == generate(model, _utterances(), Sampling(), max_codes=6, cached=False)


def test_top_k_and_top_p_keep_the_most_likely() -> None:
    """Only what is kept is ever chosen."""
    logits = torch.log(torch.tensor([0.1, 0.5, 0.3, 0.1]))

    def chosen(sampling: Sampling) -> set[int]:
        draw = _generator()
        return {choose(logits, [], sampling, draw) for _ in range(200)}

    assert {1} == chosen(Sampling(greedy=False, top_k=1))
    assert {1, 2} == chosen(Sampling(greedy=False, top_k=2))
    assert {1, 2} == chosen(Sampling(greedy=False, top_p=0.7))
    assert {0, 1, 2, 3} == chosen(Sampling(greedy=False))


def test_frequencies_follow_the_probabilities() -> None:
    """A code of probability 0.3 is chosen in about 30 % of the draws."""
    logits, draw = torch.log(torch.tensor([0.2, 0.5, 0.3])), _generator(1)
    count = sum(choose(logits, [], Sampling(greedy=False), draw) == 2 for _ in range(2_000))
    assert count / 2_000 == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 2_000))


def test_the_penalty_makes_said_codes_less_likely() -> None:
    """Positive logits shrink, negative ones grow away from zero."""
    logits = torch.tensor([2.0, 1.5, -1.0])
    assert 0 == choose(logits, [], Sampling(), _generator())
    assert 1 == choose(logits, [0, 0], Sampling(repetition_penalty=2.0), _generator())
    assert 2 == choose(
        torch.tensor([-2.0, -1.5, -1.6]), [1], Sampling(repetition_penalty=2.0), _generator()
    )


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=9), st.integers(0, 99))
def test_a_forbidden_code_is_never_chosen(scores: Sequence[float], seed: int) -> None:
    """Minus infinity stays forbidden under any temperature and penalty."""
    logits = torch.tensor([*scores, float("-inf")])
    said = [len(scores), 0]
    sampling = Sampling(greedy=False, temperature=3.0, repetition_penalty=1.3, top_p=0.9)
    assert len(scores) > choose(logits, said, sampling, _generator(seed))


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"repetition_penalty": 0.0}]
)
def test_nonsense_settings_are_named(wrong: dict[str, float]) -> None:
    """The message names the setting and its bound."""
    with pytest.raises(SettingsInvalid, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]  # the subject
