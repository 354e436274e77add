from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from support.tiny_model import tiny_config
from unbroken.errors import SettingsInvalid
from unbroken_tts.model.config import GptConfig, rows_per_code_of

if TYPE_CHECKING:
    from pathlib import Path


def _write(path: Path, **changes: Any) -> Path:
    section = {**tiny_config().model_dump(exclude={"dropout", "speed_rows"}), **changes}
    document = {"gpt": section, "s2mel": {"anything": [1]}, "version": 2.0}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_a_written_configuration_reads_back_equal(tmp_path: Path) -> None:
    """to_yaml and from_yaml are inverse, also for our own two keys."""
    config = tiny_config(dropout=0.25, speed_rows=False)
    config.to_yaml(tmp_path / "config.yaml")
    assert config == GptConfig.from_yaml(tmp_path / "config.yaml")


def test_defaults_of_ours_are_not_written(tmp_path: Path) -> None:
    """The inference program refuses unknown keys, so ours stay out unless they say something."""
    tiny_config().to_yaml(tmp_path / "config.yaml")
    section = yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))["gpt"]
    assert {"dropout", "speed_rows"}.isdisjoint(section)
    assert section["condition_type"] == "conformer_perceiver"


def test_unknown_keys_are_read_past(tmp_path: Path) -> None:
    """A real configuration has many more keys and sections."""
    path = _write(tmp_path / "config.yaml", train_solo_embeddings=False, novelty={"x": 1})
    assert tiny_config() == GptConfig.from_yaml(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": 5}, "heads is 5, which does not divide 12"),
        ({"layers": 0}, "layers: Input should be greater than or equal to 1 (found 0)"),
        ({"layers": "two"}, "layers: Input should be a valid integer (found 'two')"),
        ({"layers": True}, "layers: Input should be a valid integer (found True)"),
        ({"stop_mel_token": 32}, "both 32"),
        ({"number_mel_codes": 33}, "too few for the id 33"),
        ({"start_text_token": 1}, "both 1"),
        ({"condition_module": {"output_size": 4}}, "condition_module.linear_units: Field required"),
    ],
)
def test_nonsense_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """The message names the key and the value found."""
    with pytest.raises(SettingsInvalid) as caught:
        GptConfig.from_yaml(_write(tmp_path / "config.yaml", **changes))
    assert words in caught.value.what


@pytest.mark.parametrize("text", ["", "[]", "gpt: 3", "model: {}", "gpt: {a: [", "\x00"])
def test_a_file_without_a_section_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever the file holds, the answer is one clear error."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsInvalid, match="config"):
        GptConfig.from_yaml(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A wrong --config is the user's to mend."""
    with pytest.raises(SettingsInvalid, match="can't be read"):
        GptConfig.from_yaml(tmp_path / "none.yaml")


@given(st.floats(0.001, 4, allow_nan=False))
def test_the_perceiver_factor_may_be_fractional(factor: float) -> None:
    """perceiver_mult is any positive number."""
    module = tiny_config().condition_module.model_copy(update={"perceiver_mult": factor})
    assert factor == type(module).model_validate(module.model_dump()).perceiver_mult


def test_the_rows_of_a_code_are_said_by_the_codec_of_2_5(tmp_path: Path) -> None:
    """Two in IndexTTS-2.5; one where nothing is said, as in 2.0; nonsense is refused."""
    path = tmp_path / "config.yaml"
    for text, rows in (("gpt: {}", 1), ("semantic_codec: {codebook_size: 8}", 1)):
        path.write_text(text, "utf-8")
        assert rows == rows_per_code_of(path)
    path.write_text("semantic_codec: {downsample_scale: 2}", "utf-8")
    assert 2 == rows_per_code_of(path)
    path.write_text("semantic_codec: {downsample_scale: no}", "utf-8")
    with pytest.raises(SettingsInvalid, match="has the downsample_scale False"):
        rows_per_code_of(path)
