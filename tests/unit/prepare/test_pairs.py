from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken_tts.prepare.pairs import is_validation, make_pairs


def row(name: str, speaker: str) -> dict[str, Any]:
    """A single-utterance line."""
    keys = ["text", "language"]
    keys += [f"{kind}_path" for kind in ("audio", "text_ids", "codes", "condition", "emo_vec")]
    lengths = {"duration": 1.0, "text_len": 3, "code_len": 4, "condition_len": 32}
    return {"id": name, "speaker": speaker, **dict.fromkeys(keys, f"{name}.npy"), **lengths}


@given(st.text(max_size=20).filter(lambda text: text.isprintable()), st.floats(0, 1))
def test_split_is_by_sha1(name: str, ratio: float) -> None:
    """The side of an utterance is the rule of the contract, letter for letter."""
    number = int(hashlib.sha1(name.encode()).hexdigest(), 16)  # noqa: S324 - no secret
    assert ((number % 1_000_000) / 1_000_000 < ratio) == is_validation(name, ratio)


@pytest.mark.parametrize(("side", "name"), [(True, "a198"), (False, "a0")])
def test_split_of_known_ids(side: bool, name: str) -> None:
    """Golden values: these ids stay on their side for ever."""
    assert side == is_validation(name, 0.01)


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 5))
def test_pairing_rule(speakers: list[str], count: int) -> None:
    """Each target has as many different prompts of its own speaker as there are, never itself."""
    rows = [row(f"{number:02d}", speaker) for number, speaker in enumerate(speakers)]
    pairs = make_pairs(rows, count)
    by_id = {one["id"]: one["speaker"] for one in rows}
    for one in rows:
        prompts = [pair["prompt_id"] for pair in pairs if pair["target_id"] == one["id"]]
        others = speakers.count(one["speaker"]) - 1
        assert min(count, others) == len(set(prompts)) == len(prompts)
        assert one["id"] not in prompts
        assert all(by_id[prompt] == one["speaker"] for prompt in prompts)
    assert len(pairs) == len({pair["id"] for pair in pairs})
    assert pairs == make_pairs(rows[::-1], count)


def test_prompts_are_spread() -> None:
    """No recording is everybody's prompt."""
    pairs = make_pairs([row(f"{number:03d}", "s") for number in range(200)], 2)
    uses = [pair["prompt_id"] for pair in pairs]
    assert max(uses.count(name) for name in set(uses)) <= 10
    assert len(set(uses)) > 150


def test_pair_carries_the_contract_fields() -> None:
    """Prompt fields come from the prompt, target fields from the target."""
    pair = make_pairs([row("a", "s"), row("b", "s")], 2)[0]
    assert ("a__b", "b.npy", "b.npy", "a.npy", "a.npy") == (
        pair["id"],
        pair["prompt_condition_path"],
        pair["prompt_emo_vec_path"],
        pair["target_codes_path"],
        pair["target_text_ids_path"],
    )
    assert (3, 4, 32) == (
        pair["target_text_len"],
        pair["target_code_len"],
        pair["prompt_condition_len"],
    )
