from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.published_config import published_config
from support.tiny_model import tiny_config
from unbroken_tts.model.config import ConditionModule, GptConfig
from unbroken_tts.model.gpt_file import gpt_file_shapes, trained_shapes, untrained_shapes
from unbroken_tts.model.initial_values import initial_values, sinusoids
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders


def test_the_real_model_has_the_known_sizes() -> None:
    """665 entries, 865,980,639 values in parameters, 301 trained tensors of 527,083,235 values."""
    shapes = gpt_file_shapes(published_config(), 12_000)
    values = {n: math.prod(s) for n, s in shapes.items() if not n.endswith(".pe")}
    trained = trained_shapes(published_config(), 12_000)
    assert (665, 663, 865_980_639) == (len(shapes), len(values), sum(values.values()))
    assert (301, 527_083_235) == (len(trained), sum(map(math.prod, trained.values())))


def test_trained_tensors_stand_where_the_optimiser_of_the_earlier_trainer_had_them() -> None:
    """Parameter numbers of the earlier trainer are places in this order, buffers left out."""
    names = [n for n in gpt_file_shapes(published_config(), 12_000) if not n.endswith(".pe")]
    places = {358: "text_embedding", 363: "mel_embedding", 652: "gpt.ln_f", 662: "speed_emb"}
    assert {k: f"{v}.weight" for k, v in places.items()} == {k: names[k] for k in places}
    assert names[364].startswith("gpt.h.0.")
    assert names[651].startswith("gpt.h.23.")


_modules = st.builds(
    lambda heads, width, **rest: ConditionModule(
        attention_heads=heads, output_size=heads * width, **rest
    ),
    heads=st.integers(1, 3),
    width=st.integers(1, 6),
    linear_units=st.integers(1, 9),
    num_blocks=st.integers(1, 3),
    perceiver_mult=st.floats(0.01, 0.5),
)
_configs = st.builds(
    lambda heads, width, **rest: tiny_config(heads=heads, model_dim=heads * width, **rest),
    heads=st.integers(1, 3),
    width=st.integers(1, 6),
    layers=st.integers(1, 3),
    condition_num_latent=st.integers(1, 5),
    speed_rows=st.booleans(),
    condition_module=_modules,
    emo_condition_module=_modules,
)


@settings(max_examples=20, deadline=None)
@given(_configs)
def test_fresh_encoders_have_the_shapes_of_any_configuration(config: GptConfig) -> None:
    """Fresh encoders have every carried name once, in order, finite, and nothing trained."""
    fresh = fresh_untrained_encoders(config, seed=3)
    assert untrained_shapes(config) == {name: tuple(value.shape) for name, value in fresh.items()}
    assert list(untrained_shapes(config)) == list(fresh)
    assert all(torch.isfinite(value).all() for value in fresh.values())
    c, d = config.condition_module.output_size, config.model_dim
    assert ("perceiver_encoder.proj_context.weight" in fresh) == (c != d)


@given(_configs, st.integers(2, 50))
def test_every_tensor_is_either_trained_or_carried(config: GptConfig, vocabulary: int) -> None:
    """The two kinds together are the file, and share nothing."""
    trained, untrained_encoders = trained_shapes(config, vocabulary), untrained_shapes(config)
    assert gpt_file_shapes(config, vocabulary) == {**untrained_encoders, **trained}
    assert trained.keys().isdisjoint(untrained_encoders)


def test_fresh_values_depend_on_seed_and_name_only() -> None:
    """The value of one tensor does not depend on which others are made."""
    shapes = trained_shapes(tiny_config(), 20)
    every = initial_values(shapes, layers=2, seed=4)
    few = initial_values({n: shapes[n] for n in list(shapes)[-5:]}, layers=2, seed=4)
    other = initial_values(shapes, layers=2, seed=5)
    assert all(torch.equal(every[name], few[name]) for name in few)
    assert not torch.equal(every["text_embedding.weight"], other["text_embedding.weight"])


def test_the_position_table_is_sin_and_cos() -> None:
    """Row 1 of width 4: sin 1, cos 1, sin 0.01, cos 0.01; also for an odd width."""
    row = [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)]
    torch.testing.assert_close(torch.tensor(row), sinusoids(5, 4)[0, 1])
    assert (1, 5, 3) == tuple(sinusoids(5, 3).shape)
