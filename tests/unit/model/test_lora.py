"""Unmerged LoRA adapters, compared with what peft itself merged (tests/fixtures/peft)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from support.tiny_model import tiny_config, tiny_model
from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken_tts.export import merge
from unbroken_tts.model.base import read_base
from unbroken_tts.model.published_forms import FormChoice
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders

FIXTURE = Path(__file__).parents[2] / "fixtures" / "peft" / "adapters.safetensors"
CASES = ("plain", "rs", "dora", "save", "bias")
State = dict[str, torch.Tensor]
STATE: State = merge(tiny_model(seed=8), fresh_untrained_encoders(tiny_config(), seed=9))


def _case(case: str, kind: str) -> State:
    with safe_open(FIXTURE, "pt") as file:
        start = f"{case}/{kind}/"
        return {n[len(start) :]: file.get_tensor(n) for n in file.keys() if n.startswith(start)}  # noqa: SIM118


def _config(case: str) -> dict[str, Any]:
    with safe_open(FIXTURE, "pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()[case])
    return found


def _unmerged(case: str) -> State:
    """Return a whole model as peft wraps it, with the adapted layers of a case."""
    adapted = _case(case, "unmerged")
    merged_names = _case(case, "merged")
    plain = {f"base_model.model.{n}": t for n, t in STATE.items() if n not in merged_names}
    return {**plain, **adapted}


def _write(
    folder: Path, state: State, config: dict[str, Any] | None, name: str = "gpt.pth"
) -> Path:
    torch.save(state, folder / name)
    if config is not None:
        (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return folder / name


@pytest.mark.parametrize("case", CASES)
def test_an_adapter_is_merged_as_peft_merges_it(tmp_path: Path, case: str) -> None:
    """Bit for bit: linear, transposed, embedding and convolution layers, and all that varies."""
    base = read_base(_write(tmp_path, _unmerged(case), _config(case)))
    found = {**base.trained, **base.untrained_encoders}
    assert STATE.keys() == found.keys()
    expected = {**STATE, **_case(case, "merged")}
    # Rounding: kernels of other processors add in another order.
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
    assert any("merged the" in note and "adapter_config.json" in note for note in base.notes)


def test_magnitudes_of_earlier_versions_of_peft_are_known(tmp_path: Path) -> None:
    """They had no `.weight` at the end of their names."""
    state = {
        n.removesuffix(".weight") if "magnitude" in n else n: t
        for n, t in _unmerged("dora").items()
    }
    base = read_base(_write(tmp_path, state, _config("dora")))
    expected = _case("dora", "merged")["mel_head.weight"]
    torch.testing.assert_close(base.trained["mel_head.weight"], expected, rtol=1e-5, atol=1e-6)


def test_the_adapter_acts(tmp_path: Path) -> None:
    """The comparison above can fail: merged weights are far from the layers without the adapter."""
    adapted, whole = _case("plain", "unmerged"), _case("plain", "merged")
    for name, tensor in whole.items():
        if name.endswith("weight"):
            before = adapted[f"base_model.model.{name.removesuffix('weight')}base_layer.weight"]
            assert (tensor - before).abs().max() > 0.1


def test_without_its_alpha_an_adapter_is_refused(tmp_path: Path) -> None:
    """Never dropped in silence: the message names the file and the flag that help."""
    path = _write(tmp_path, _unmerged("plain"), None)
    with pytest.raises(SettingsInvalid, match=r"adapter_config\.json beside.*--adapter-alpha"):
        read_base(path)


def test_a_named_alpha_is_the_configurations(tmp_path: Path) -> None:
    """--adapter-alpha with the number of the configuration gives the same weights without it."""
    path = _write(tmp_path, _unmerged("plain"), None)
    named = read_base(path, FormChoice(adapter_alpha=_config("plain")["lora_alpha"]))
    _write(tmp_path, _unmerged("plain"), _config("plain"))
    configured = read_base(path)
    assert all(torch.equal(each, named.trained[n]) for n, each in configured.trained.items())


def test_an_alpha_that_contradicts_the_configuration_is_refused(tmp_path: Path) -> None:
    """One of the two would be wrong, and only a person can know which."""
    path = _write(tmp_path, _unmerged("plain"), _config("plain"))
    with pytest.raises(SettingsInvalid, match=r"--adapter-alpha is 3, .* says 10"):
        read_base(path, FormChoice(adapter_alpha=3))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"r": 8}, "rank 4, .* says 8"),
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"use_qalora": True}, "use_qalora"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"use_dora": True}, "lacks DoRA magnitudes"),
        ({"lora_alpha": "much"}, "lora_alpha = 'much'"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"r": 0}, "r = 0"),
        ({"alpha_pattern": {"(": 3}}, "no pattern"),
        ({"alpha_pattern": {"(a+)+b": 3}}, "too complex"),
        ({"rank_pattern": [3]}, "rank_pattern that is no object"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """Another adapter's, another kind's, damaged or hostile: named, not merged wrongly."""
    path = _write(tmp_path, _unmerged("plain"), _config("plain") | changes)
    with pytest.raises(DataInvalid, match=said):
        read_base(path)


def test_a_configuration_that_is_no_json_is_refused(tmp_path: Path) -> None:
    """A damaged file beside the weights is named."""
    path = _write(tmp_path, _unmerged("plain"), _config("plain"))
    (tmp_path / "adapter_config.json").write_text("{", "utf-8")
    with pytest.raises(DataInvalid, match=r"adapter_config\.json can't be read"):
        read_base(path)


def _without(state: State, part: str) -> State:
    return {name: each for name, each in state.items() if part not in name}


def _with_second_adapter(state: State) -> State:
    more = {n.replace(".default", ".second"): t for n, t in state.items() if ".lora_" in n}
    return state | more


C_ATTN = "base_model.model.gpt.h.0.attn.c_attn"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: _without(s, f"{C_ATTN}.lora_B"), r"only parts of a LoRA .*gpt\.h\.0\.attn"),
        (lambda s: _without(s, f"{C_ATTN}.base_layer.weight"), r"not that layer's weight"),
        (
            lambda s: s | {f"{C_ATTN}.lora_A.default.weight": torch.ones(4, 12, dtype=torch.int8)},
            r"integers[\s\S]*c_attn \(LoRA A\)",
        ),
        (
            lambda s: s | {f"{C_ATTN}.base_layer.weight": torch.ones(1).expand(10**6, 10**6)},
            r"fewer values[\s\S]*c_attn\.weight",
        ),
        (_with_second_adapter, r"several LoRA adapters: default, second"),
        (lambda s: s | {f"{C_ATTN}.lora_E.default": torch.ones(4, 1)}, r"lora_E"),
        (lambda s: s | {f"{C_ATTN}.lora_A.default.weight": torch.ones(4, 5)}, r"doesn't fit"),
        (lambda s: s | {f"{C_ATTN}.lora_A.default.weight": torch.ones(4)}, r"doesn't fit"),
        (lambda s: s | {f"{C_ATTN}.lora_A.default.weight": torch.ones(0, 12)}, r"doesn't fit"),
        (lambda s: s | {f"{C_ATTN}.weight": torch.ones(12, 36)}, r"base_layer.* beside"),
        (
            lambda s: (
                _without(s, "mel_head.lora_")
                | {
                    "base_model.model.inference_model.lm_head.1.lora_A.default.weight": torch.ones(
                        4, 12
                    )
                }
            ),
            r"only in a copy .*inference_model\.lm_head\.1",
        ),
    ],
)
def test_an_adapter_that_can_not_be_merged_whole_is_refused(
    tmp_path: Path, change: Any, said: str
) -> None:
    """Parts that are missing, unknown, misshapen or ambiguous are named."""
    path = _write(tmp_path, change(_unmerged("plain")), _config("plain"))
    with pytest.raises(DataInvalid, match=said):
        read_base(path)


def test_an_adapter_alone_is_no_model(tmp_path: Path) -> None:
    """adapter_model.safetensors is refused with what would be needed."""
    state = {n: t for n, t in _case("plain", "unmerged").items() if ".lora_" in n}
    with pytest.raises(DataInvalid, match=r"adapter without the weights[\s\S]*merge_and_unload"):
        read_base(_write(tmp_path, state, _config("plain")))


def test_trained_copies_take_the_place_of_their_originals(tmp_path: Path) -> None:
    """modules_to_save: the copies are what was trained; the originals are left out and said."""
    base = read_base(_write(tmp_path, _unmerged("save"), _config("save")))
    copy = _unmerged("save")["base_model.model.text_head.modules_to_save.default.weight"]
    assert torch.equal(copy, base.trained["text_head.weight"])
    assert any("text_head.original_module.weight" in note for note in base.notes)


def test_an_adapter_in_a_wrapped_transformer_is_found(tmp_path: Path) -> None:
    """With peft around `gpt` alone its prefix is in the middle of names, and patterns begin inside of it."""
    state = {
        name.removeprefix("base_model.model.").replace("gpt.", "gpt.base_model.model.", 1): each
        for name, each in _unmerged("rs").items()
    }
    config = _config("rs")
    config["rank_pattern"] = {
        key.replace("^gpt.", "^"): value for key, value in config["rank_pattern"].items()
    }
    found = read_base(_write(tmp_path, state, config)).trained
    for name, tensor in _case("rs", "merged").items():
        if name in found:
            torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)


def test_layers_whose_adapter_is_gone_are_said(tmp_path: Path) -> None:
    """Some programs save an adapted model without its adapter: a model of before the training."""
    state = _without(_unmerged("plain"), ".lora_")
    base = read_base(_write(tmp_path, state, None))
    assert any("adapter is not in the file" in note and "c_attn" in note for note in base.notes)


def test_names_of_loralib_are_understood(tmp_path: Path) -> None:
    """Without a name of the adapter and without `base_layer`, as loralib writes them."""
    down, up = torch.randn(2, 12), torch.randn(12, 2)
    state = STATE | {"emo_layer.lora_A": down, "emo_layer.lora_B": up}
    base = read_base(_write(tmp_path, state, None), FormChoice(adapter_alpha=6))
    expected = STATE["emo_layer.weight"] + 3 * up @ down
    torch.testing.assert_close(base.untrained_encoders["emo_layer.weight"], expected)
