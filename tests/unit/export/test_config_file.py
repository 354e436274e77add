"""The exported `config.yaml`: the user's file, with what the weights need."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from support.tiny_model import tiny_config
from unbroken import SettingsInvalid
from unbroken_tts.export.config_file import exported_config

ORIGIN = Path("config.yaml")


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The `gpt` section of the tiny model, as YAML."""
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    tiny_config().to_yaml(path)
    return yaml.safe_dump({"gpt": yaml.safe_load(path.read_text(encoding="utf-8"))["gpt"]})


@pytest.mark.parametrize(
    ("expected", "named"),
    [
        ("bpe.model", "bpe.model"),
        ("am_bpe.model", "am_bpe.model"),
        ("tokenizers/am.model", "tokenizers/am.model"),
        ("am.model", "../elsewhere/am.model"),
        ("am.model", "/srv/am.model"),
        ("am.model", "C:\\models\\am.model"),
        ("bpe.model", ".."),
        ("bpe.model", "gpt.pth"),
        ("bpe.model", "config.yaml"),
        ("bpe.model", ""),
    ],
)
def test_the_tokenizer_stays_in_the_folder(expected: str, named: str, section: str) -> None:
    """It has the name that the configuration gives, unless that leads out of the folder."""
    text = f"{section}dataset:\n  bpe_model: '{named}'\n"
    found = exported_config(text, ORIGIN, tiny_config(), 50)
    assert expected == found.tokenizer
    assert expected == yaml.safe_load(found.text)["dataset"]["bpe_model"]


def test_a_file_without_the_keys_gets_them(section: str) -> None:
    """Names of weights and tokenizer, and what the constructor needs to build the same model."""
    kept = [line for line in section.splitlines() if "condition_type" not in line]
    found = yaml.safe_load(exported_config("\n".join(kept), ORIGIN, tiny_config(), 50).text)
    assert {"bpe_model": "bpe.model"} == found["dataset"]
    assert "gpt.pth" == found["gpt_checkpoint"]
    assert "conformer_perceiver" == found["gpt"]["condition_type"]
    assert 50 == found["gpt"]["number_text_tokens"]


def test_only_the_lines_concerned_change(section: str) -> None:
    """Comments, order and quotes of the user stay; equal keys of other sections are not touched."""
    text = (
        f"# mine\n{section}  dropout: 0.1  # of an experiment\ndataset: {{bpe_model: a.model}}\n"
        "other:\n    number_text_tokens: 3 # not the model's\ngpt_checkpoint: 'old.pth' # theirs\n"
    )
    with_other = exported_config(text, ORIGIN, tiny_config(), 50)
    assert 3 == yaml.safe_load(with_other.text)["other"]["number_text_tokens"]
    text = text.replace("    number_text_tokens: 3 # not the model's\n", "    x: 1\n")
    found = exported_config(text, ORIGIN, tiny_config(), 50)
    assert ("dropout",) == found.left_out
    assert found.text.startswith("# mine\n")
    assert "gpt_checkpoint: gpt.pth # theirs" in found.text
    assert "dropout" not in found.text


@pytest.mark.parametrize(
    "text", ["", "[]", "gpt: 3", "gpt: {", "\x00", "gpt: {a: *b}", "!!python/object:os.system {}"]
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    """Damaged, empty and hostile files: one message, and nothing is executed."""
    with pytest.raises(SettingsInvalid, match=r"config\.yaml"):
        exported_config(text, ORIGIN, tiny_config(), 50)
