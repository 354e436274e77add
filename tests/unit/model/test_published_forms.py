"""Weights as other programs save them."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from support.tiny_model import tiny_config, tiny_model
from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken_tts.export import merge
from unbroken_tts.model.base import BaseWeights, read_base
from unbroken_tts.model.published_forms import FormChoice
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders

if TYPE_CHECKING:
    from collections.abc import Callable

State = dict[str, torch.Tensor]
STATE: State = merge(tiny_model(seed=8), fresh_untrained_encoders(tiny_config(), seed=9))
PREFIXES = ("module.", "_orig_mod.", "base_model.model.", "gpt_model.")
CONTAINERS = ("model", "state_dict", "model_state_dict", "module", "ema_model")


def _saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def _prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def _is_the_state(base: BaseWeights, state: State = STATE) -> bool:
    found = {**base.trained, **base.untrained_encoders}
    return found.keys() == state.keys() and all(
        torch.equal(tensor.float(), found[name]) for name, tensor in state.items()
    )


@settings(max_examples=15, deadline=None)
@given(
    prefixes=st.lists(st.sampled_from(PREFIXES), max_size=4),
    containers=st.lists(st.sampled_from(CONTAINERS), max_size=3),
)
def test_any_stack_of_prefixes_and_containers_gives_the_same_tensors(
    tmp_path_factory: pytest.TempPathFactory, prefixes: list[str], containers: list[str]
) -> None:
    """However programs wrapped the model and its state dict, names and bits are the model's."""
    content: dict[str, Any] = _prefixed(STATE, "".join(prefixes))
    for container in containers:
        content = {container: content, "epoch": 3}
    path = tmp_path_factory.mktemp("form") / "gpt.pth"
    base = read_base(_saved(path, content))
    assert _is_the_state(base)
    assert bool(containers) == any("epoch" in note for note in base.notes)


class _Model(torch.nn.Module):
    """A module with the parameters of the model under its names."""

    def __init__(self) -> None:
        super().__init__()
        for name, tensor in STATE.items():
            *path, last = name.split(".")
            at: torch.nn.Module = self
            for part in path:
                if part not in at._modules:
                    at.add_module(part, torch.nn.Module())
                at = at.get_submodule(part)
            at.register_parameter(last, torch.nn.Parameter(tensor.clone()))


def _compiled(module: torch.nn.Module) -> torch.nn.Module:
    found = torch.compile(module, backend="eager")
    assert isinstance(found, torch.nn.Module)
    return found


def _compiled_block(model: torch.nn.Module) -> torch.nn.Module:
    blocks = model.get_submodule("gpt.h")
    blocks.add_module("0", _compiled(blocks.get_submodule("0")))
    return model


@pytest.mark.parametrize(
    "wrap",
    [
        _compiled,
        torch.nn.DataParallel,
        lambda model: torch.nn.DataParallel(_compiled_block(model)),
        torch.optim.swa_utils.AveragedModel,
    ],
    ids=["compiled", "parallel", "a compiled block, parallel", "averaged"],
)
def test_the_wrappers_of_torch_are_looked_through(
    tmp_path: Path, wrap: Callable[[torch.nn.Module], torch.nn.Module]
) -> None:
    """State dicts as torch's own wrappers make them, also where a part alone is wrapped."""
    base = read_base(_saved(tmp_path / "gpt.pth", wrap(_Model()).state_dict()))
    assert _is_the_state(base)


def test_one_of_several_sets_is_never_chosen_in_silence(tmp_path: Path) -> None:
    """A file with weights and their average asks which; what is named is used and said."""
    average = {name: tensor + 1 for name, tensor in STATE.items()}
    path = _saved(tmp_path / "last.ckpt", {"model": STATE, "ema_model": average, "step": 7})
    with pytest.raises(SettingsInvalid, match=r"ema_model, model\..*\n.*\n.*--weights-entry"):
        read_base(path)
    with pytest.raises(
        SettingsInvalid, match=r"--weights-entry is emma.*has the sets of weights ema_model, model"
    ):
        read_base(path, FormChoice(entry="emma"))
    base = read_base(path, FormChoice(entry="ema_model"))
    assert _is_the_state(base, average)
    assert any("ema_model is used" in note and "model" in note for note in base.notes)


def test_sets_within_one_state_dict_are_told_apart(tmp_path: Path) -> None:
    """Lightning keeps an average beside the weights under a prefix of its own."""
    average = {name: tensor + 1 for name, tensor in STATE.items()}
    content = {**STATE, **_prefixed(average, "ema_model.")}
    path = _saved(tmp_path / "gpt.pth", content)
    assert _is_the_state(read_base(path, FormChoice(entry=".")))
    assert _is_the_state(read_base(path, FormChoice(entry="ema_model")), average)


def test_two_names_of_the_same_tensors_are_no_choice(tmp_path: Path) -> None:
    """A dict that is there twice is the same either way."""
    assert _is_the_state(read_base(_saved(tmp_path / "a.pth", {"model": STATE, "module": STATE})))


def test_a_file_that_contains_itself_ends(tmp_path: Path) -> None:
    """A hostile dict inside of itself, or in a hundred places of each level, is searched once."""
    content: dict[str, Any] = {"model": dict(STATE)}
    content["state_dict"] = content
    bomb: dict[str, Any] = {}
    for _ in range(7):
        bomb = {str(number): bomb for number in range(100)}
    content["bomb"] = bomb
    assert _is_the_state(read_base(_saved(tmp_path / "a.pth", content)))


def test_two_places_of_one_name_are_both_seen(tmp_path: Path) -> None:
    """A container `a/b` and a container `b` in `a`: the file still has two sets."""
    other = {name: tensor + 1 for name, tensor in STATE.items()}
    path = _saved(tmp_path / "a.pth", {"a/b": STATE, "a": {"b": other}})
    with pytest.raises(SettingsInvalid, match=r"several sets of weights: a/b, a/b\+"):
        read_base(path)
    assert _is_the_state(read_base(path, FormChoice(entry="a/b+")), other)


def test_safetensors_restore_what_they_share(tmp_path: Path) -> None:
    """A tensor with two names is written once; the model's name may be the one in the metadata."""
    state = dict(STATE)
    head = {name: state.pop(name) for name in ("mel_head.weight", "mel_head.bias")}
    state |= {f"inference_model.lm_head.1.{name[9:]}": each for name, each in head.items()}
    aliases = {name: f"inference_model.lm_head.1.{name[9:]}" for name in head}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt", **aliases})
    base = read_base(tmp_path / "model.safetensors")
    assert _is_the_state(base)
    assert any("copies that inference makes" in note for note in base.notes)


def _write_shards(folder: Path, index: dict[str, Any] | None = None) -> Path:
    names = list(STATE)
    for number, part in enumerate((names[:50], names[50:])):
        save_file({name: STATE[name] for name in part}, folder / f"{number}.safetensors")
    places = {name: f"{int(at >= 50)}.safetensors" for at, name in enumerate(names)}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": places} if index is None else index), "utf-8")
    return path


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    """Several files are one model, and their size is that of all."""
    assert _is_the_state(read_base(_write_shards(tmp_path)))


@pytest.mark.parametrize(
    "index",
    [
        {},
        {"weight_map": {}},
        {"weight_map": {"a": "../0.safetensors"}},
        {"weight_map": {"a": "0.safetensors"}},
        {"weight_map": {"text_embedding.weight": "0.safetensors"}},
        {"weight_map": {"a": "model.safetensors.index.json"}},
        {"weight_map": {"a": 3}},
        [1],
    ],
)
def test_a_wrong_index_is_refused(tmp_path: Path, index: Any) -> None:
    """An index that leads elsewhere, to itself, or doesn't fit its files."""
    with pytest.raises(DataInvalid, match=r"index\.json"):
        read_base(_write_shards(tmp_path, index))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_it_is_said(tmp_path: Path, dtype: torch.dtype) -> None:
    """Half precision is read as what it is; every tensor then has one dtype."""
    state = {name: tensor.to(dtype) for name, tensor in STATE.items()}
    base = read_base(_saved(tmp_path / "gpt.pth", state))
    assert _is_the_state(base, state)
    assert {torch.float32} == {each.dtype for each in base.trained.values()}
    assert {torch.float32} == {each.dtype for each in base.untrained_encoders.values()}
    assert any(f"of {dtype}".replace("torch.", "") in note for note in base.notes)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (torch.ones(12, 36, dtype=torch.int8), "quantised"),
        (torch.ones(12, 36).to(torch.float8_e4m3fn), "float8"),
        (torch.ones(12, 36).to_sparse(), "sparse"),
        (torch.ones(12, 36, dtype=torch.complex64), "complex64"),
        (torch.ones(1).expand(12, 36), "fewer values"),
    ],
)
def test_tensors_that_are_no_weights_are_refused_by_name(
    tmp_path: Path, value: torch.Tensor, why: str
) -> None:
    """A quantised, sparse or otherwise unusable tensor is named with the reason."""
    state = {**STATE, "gpt.h.0.attn.c_attn.weight": value}
    with pytest.raises(DataInvalid, match=rf"{why}[\s\S]*gpt\.h\.0\.attn\.c_attn\.weight"):
        read_base(_saved(tmp_path / "gpt.pth", state))


def test_two_names_that_become_one_are_refused_by_both(tmp_path: Path) -> None:
    """Which of them is the model's can't be told."""
    state = {**STATE, "module.emo_layer.bias": STATE["emo_layer.bias"] + 1}
    with pytest.raises(DataInvalid, match=r"emo_layer\.bias and module\.emo_layer\.bias"):
        read_base(_saved(tmp_path / "gpt.pth", state))


def test_masks_and_counters_are_left_out_and_it_is_said(tmp_path: Path) -> None:
    """Buffers of older transformers and counters of wrappers are no weights."""
    extra = {
        "gpt.h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.bool),
        "gpt.h.0.attn.masked_bias": torch.tensor(-1e4),
        "n_averaged": torch.tensor(3),
        "note": "by hand",
    }
    base = read_base(_saved(tmp_path / "gpt.pth", {**STATE, **extra}))
    assert _is_the_state(base)
    assert all(any(name in note for note in base.notes) for name in extra)


def test_an_old_pickle_is_refused_with_the_line_that_converts_it(tmp_path: Path) -> None:
    """The line of the message, run as it stands, makes a file that is read."""
    path = tmp_path / "old gpt.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    with pytest.raises(DataInvalid, match=r"before torch 1\.6") as caught:
        read_base(path)
    words = shlex.split(caught.value.remedy.splitlines()[1])
    assert ["python", "-c"] == words[:2]
    exec(words[2], {})  # noqa: S102  the line is the promise
    assert _is_the_state(read_base(tmp_path / "old gpt.converted.pth"))


def test_an_object_that_only_code_could_make_is_named(tmp_path: Path) -> None:
    """Settings pickled beside the weights: nothing runs, and the message says what is in the way."""
    content = {"state_dict": STATE, "hyper_parameters": argparse.Namespace(lr=1)}
    with pytest.raises(DataInvalid, match=r"argparse\.Namespace[\s\S]*no code from it was run"):
        read_base(_saved(tmp_path / "last.ckpt", content))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("name", ["gpt.pth", "a.safetensors", "a.safetensors.index.json"])
def test_a_pipe_is_refused_at_once(tmp_path: Path, name: str) -> None:
    """Nothing waits for a writer that never comes."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataInvalid, match="not a regular file"):
        read_base(tmp_path / name)


@pytest.mark.parametrize("keep", [0, 4, 9, 100, 2000])
def test_damaged_safetensors_are_refused(tmp_path: Path, keep: int) -> None:
    """A cut file is no smaller model."""
    path = tmp_path / "gpt.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataInvalid, match="safetensors"):
        read_base(path)


@pytest.mark.parametrize(
    ("state", "family"),
    [
        ({n: t for n, t in STATE.items() if not n.startswith("emo")}, "IndexTTS 1"),
    ],
)
def test_another_family_is_refused_by_its_name(tmp_path: Path, state: State, family: str) -> None:
    """Not by the shapes of all tensors, and with what is supported."""
    path = _saved(tmp_path / "gpt.pth", state)
    with pytest.raises(SettingsInvalid, match=rf"{family}[\s\S]*IndexTTS2 2\.0") as caught:
        read_base(path)
    assert len(str(caught.value)) < 600
