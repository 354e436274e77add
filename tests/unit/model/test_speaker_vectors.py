"""A model of IndexTTS-2.5: a speaker vector, two zero rows, and a language at every text position.

Sources: `UnifiedVoice` of indextts/gpt/model_v2.py with spk_cond_mode="campplus", and the shapes of
the published gpt.pth.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from support.tiny_model import assemble, tiny_batch, tiny_model, tiny_speaker_config
from unbroken import DataInvalid, SettingsInvalid
from unbroken_tts.data.batch import Batch
from unbroken_tts.model.base import base_weights, load_base
from unbroken_tts.model.gpt import VoiceGpt
from unbroken_tts.model.gpt_file import gpt_file_shapes, is_trained
from unbroken_tts.model.language_table import LanguageTable, first_language_id
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders

VOCABULARY = 1_900
AMHARIC, ENGLISH = 80, 0
CONFIG = tiny_speaker_config()


def model(language: int | None = AMHARIC) -> VoiceGpt:
    return tiny_model(CONFIG, VOCABULARY, language=language)


def batch(*languages: int) -> Batch:
    """Return samples whose texts begin with the tokens of these languages."""
    lengths = [(4 + i, 7 + 2 * i) for i in range(len(languages))]
    made = tiny_batch(lengths, config=CONFIG, vocabulary=200)
    for row, language in enumerate(languages):
        made.text_ids[row, 0] = first_language_id(VOCABULARY) + language
    return made


def test_the_published_file_has_these_tensors() -> None:
    """456 of them, in this order: the vector's projection first, the language table after the text's."""
    real = CONFIG.model_copy(
        update={
            "model_dim": 1280, "layers": 24, "number_mel_codes": 8194, "max_mel_tokens": 1815,
            "max_text_tokens": 600,
            "emo_condition_module": CONFIG.emo_condition_module.model_copy(
                update={"output_size": 512, "linear_units": 1024, "attention_heads": 4,
                        "num_blocks": 4, "perceiver_mult": 2}
            ),
        }
    )  # fmt: skip
    shapes = gpt_file_shapes(real, 60_509)
    names = list(shapes)
    assert 456 == len(shapes)
    assert ["spk_emb_proj.weight", "spk_emb_proj.bias"] == names[:2]
    assert "lang_embedding.weight" == names[names.index("text_embedding.weight") + 1]
    assert (1280, 192) == shapes["spk_emb_proj.weight"]
    assert (107, 1280) == shapes["lang_embedding.weight"]
    assert (60_510, 1280) == shapes["text_embedding.weight"]
    assert not [name for name in names if name.startswith(("speed_emb", "conditioning_enc"))]


def test_the_real_vocabulary_has_english_where_the_original_has_it() -> None:
    """58,836 ranks, two special tokens, then the languages; 1,673 special tokens in all."""
    assert 58_838 == first_language_id(60_509)
    with pytest.raises(ValueError, match="no language tokens"):
        first_language_id(1_672)


def test_the_inputs_are_those_of_the_original() -> None:
    """Row by row: vector + emotion, two zeros, text + place + language, codes + place."""
    ours, given = model().eval(), batch(AMHARIC)
    table = ours.table()
    plan = ours.lay_out(given)
    with torch.no_grad():
        rows = ours.embed(plan, given.condition, given.emo_vec)[0]
        voice = functional.linear(
            given.condition[0, 0], table["spk_emb_proj.weight"], table["spk_emb_proj.bias"]
        )
        text = torch.cat([torch.tensor([0]), given.text_ids[0], torch.tensor([1])])
        codes = torch.cat([torch.tensor([CONFIG.start_mel_token]), given.codes[0]])
        expected = torch.cat([
            (voice + given.emo_vec[0]).unsqueeze(0),
            torch.zeros(2, CONFIG.model_dim),
            table["text_embedding.weight"][text]
            + table["text_pos_embedding.emb.weight"][: len(text)]
            + table["lang_embedding.weight"][AMHARIC],
            table["mel_embedding.weight"][codes] + table["mel_pos_embedding.emb.weight"][: len(codes)],
        ])  # fmt: skip
    torch.testing.assert_close(rows, expected)


def test_each_sample_has_its_own_language() -> None:
    """A mix trains on both, and a sample doesn't depend on its batch mates."""
    ours, both = model().eval(), batch(AMHARIC, ENGLISH)
    alone = [
        assemble(
            [both.text_ids[i, : both.text_lengths[i]]], [both.codes[i, : both.code_lengths[i]]],
            [both.condition[i]], [both.emo_vec[i]], CONFIG,
        )
        for i in range(2)
    ]  # fmt: skip
    with torch.no_grad():
        together = ours(both, per_sample=True)
        for i, each in enumerate(alone):
            torch.testing.assert_close(together.mel_loss_sum[i], ours(each).mel_loss_sum)


def test_only_the_row_of_the_new_language_is_trained() -> None:
    """The other rows have no gradient, no moments and no decay: AdamW can't move them."""
    ours, given = model(), batch(AMHARIC, ENGLISH)
    before = ours.table()["lang_embedding.weight"].clone()
    optimizer = torch.optim.AdamW(ours.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        sums = ours(given)
        (sums.text_loss_sum + sums.mel_loss_sum).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = ours.table()["lang_embedding.weight"]
    moved = (before != after).any(dim=1).nonzero().flatten().tolist()
    assert [AMHARIC] == moved
    assert "lang_embedding.row" in dict(ours.named_parameters())
    assert "lang_embedding.base" not in dict(ours.named_parameters())


def test_the_row_can_start_as_that_of_a_language_the_base_speaks() -> None:
    """Its values, and nothing else of the table."""
    table = LanguageTable(5, 3, trained=4)
    table.fill(torch.arange(15.0).view(5, 3))
    table.start_from(1)
    joined = table.joined()
    assert torch.equal(joined[4], joined[1])
    assert torch.equal(joined[:4], torch.arange(12.0).view(4, 3))


@pytest.mark.parametrize(
    ("first", "said"),
    [(5, "begins with token 5"), (first_language_id(VOCABULARY) + 99, "no language")],
)
def test_a_text_without_a_language_is_refused(first: int, said: str) -> None:
    """Texts of 2.0, or a language that has no token, would be read as another language."""
    given = batch(AMHARIC)
    given.text_ids[0, 0] = first
    with pytest.raises(DataInvalid, match=said):
        model()(given)


def test_an_export_is_the_base_but_for_what_was_trained() -> None:
    """Loaded and given out again, every tensor of the file is the same, in the same order."""
    made = model(language=None)
    encoders = fresh_untrained_encoders(CONFIG, 3)
    state = {
        name: {**encoders, **made.table()}[name] for name in gpt_file_shapes(CONFIG, VOCABULARY)
    }
    base = base_weights(state, origin="gpt.pth")
    config = base.config_for(tiny_speaker_config(spk_cond_mode="conformer", language_rows=0))
    assert config.takes_speaker_vectors  # the weights tell, whatever the file says
    ours = VoiceGpt(config, VOCABULARY, language=AMHARIC)
    load_base(ours, base)
    again = ours.table()
    assert [name for name in state if is_trained(name)] == list(again)
    assert all(torch.equal(state[name], each) for name, each in again.items())


def test_the_loss_of_untrained_weights_is_that_of_chance() -> None:
    """About ln of the number of outputs for text and codes."""
    with torch.no_grad():
        sums = model().eval()(batch(AMHARIC, ENGLISH))
    assert float(sums.mel_loss_sum) / sums.mel_tokens == pytest.approx(math.log(34), rel=0.1)
    assert float(sums.text_loss_sum) / sums.text_tokens == pytest.approx(
        math.log(VOCABULARY + 1), rel=0.1
    )


@pytest.mark.parametrize("row", [-1, 107])
def test_a_row_that_the_table_has_not_is_refused(row: int) -> None:
    """An edited run can't put what it learnt into the row of another language."""
    with pytest.raises(SettingsInvalid, match="107 rows"):
        model(language=row)
