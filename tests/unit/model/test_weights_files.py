from __future__ import annotations

import os
import random
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.torch_version import TorchVersion

from support.tiny_model import VOCABULARY, tiny_batch, tiny_config, tiny_model
from unbroken.errors import DataInvalid, SettingsInvalid
from unbroken_tts.evaluate import evaluate, model_from_file
from unbroken_tts.export import merge, write_gpt_pth
from unbroken_tts.model.base import BaseWeights, frozen_rows_of, load_base, read_base
from unbroken_tts.model.gpt_file import TEXT_TENSORS, gpt_file_shapes
from unbroken_tts.model.untrained_encoders import fresh_untrained_encoders

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = tiny_config()


def _state() -> dict[str, torch.Tensor]:
    return merge(tiny_model(seed=8), fresh_untrained_encoders(CONFIG, seed=9))


def _saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def _legacy_content(*, latest: bool) -> dict[str, Any]:
    """Return what the earlier trainer wrote, for a run stopped after step 24."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))], lr=2e-3)
    content: dict[str, Any] = {
        "model": OrderedDict(_state()),
        "optimizer": optimizer.state_dict(),
        "scheduler": {"last_epoch": 24, "_step_count": 25, "_last_lr": [7e-4], "lr_lambdas": [{}]},
        "scaler": None,
        "epoch": 2,
        "step": 24,
        "batch_idx": 18,
        "recent_checkpoints": ["/gone/model_step24.pth"],
    }
    manifests = {"train": [{"path": "/gone/train.jsonl", "count": 114}], "val": []}
    if latest:
        return content | {
            "manifests": manifests,
            "rng_state": {
                "torch_cpu": torch.get_rng_state(),
                "torch_cuda": None,
                "numpy": np.random.get_state(),  # noqa: NPY002  what such a file holds
                "python": random.getstate(),
            },
            "batch_size": 4,
            "grad_accumulation": 3,
            "pytorch_version": TorchVersion("2.13.0+cpu"),
            "cuda_version": None,
            "cuda_peak_memory": 0,
        }
    return content | {
        "accumulation_counter": 0,
        "extra": {"type": "step", "manifests": manifests, "tokenizer": "/gone/am.model"},
        "last_losses": {"text_loss": 3.9, "mel_loss": 4.9, "mel_top1": 0.3},
    }


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "note": "x"},
        lambda state: {
            **{name.replace(".c_attn.", ".c_attn.base_layer."): t for name, t in state.items()},
            "inference_model.lm_head.weight": torch.ones(2, 2),
            "gpt.wte.weight": torch.ones(2, 2),
        },
    ],
    ids=["flat", "under model", "without its adapters, with duplicates"],
)
def test_every_form_of_a_base_is_read(
    tmp_path: Path, wrap: Callable[[dict[str, torch.Tensor]], dict[str, Any]]
) -> None:
    """Flat, under `model`, and with entries that are dropped or renamed."""
    base = read_base(_saved(tmp_path / "gpt.pth", wrap(_state())))
    assert VOCABULARY == base.vocabulary
    assert set(gpt_file_shapes(CONFIG, VOCABULARY)) == {*base.trained, *base.untrained_encoders}


def test_exporting_an_imported_base_gives_back_its_bits(tmp_path: Path) -> None:
    """Read, load, merge, write, read: the same names in the same order, the same bits."""
    state = _state()
    base = read_base(_saved(tmp_path / "gpt.pth", state))
    model = tiny_model()
    load_base(model, base)
    write_gpt_pth(tmp_path / "out" / "export.pth", merge(model, base.untrained_encoders))
    written = torch.load(tmp_path / "out" / "export.pth", weights_only=True)
    assert list(gpt_file_shapes(CONFIG, VOCABULARY)) == list(written)
    for name, tensor in written.items():
        assert type(tensor) is torch.Tensor
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert torch.equal(state[name], tensor)
    assert ["export.pth"] == [entry.name for entry in (tmp_path / "out").iterdir()]


def test_an_export_replaces_the_file_it_was_read_from(tmp_path: Path) -> None:
    """Carried tensors mapped from a file may be written to the same name."""
    path = _saved(tmp_path / "gpt.pth", _state())
    model, base = tiny_model(seed=20), read_base(path)
    write_gpt_pth(path, merge(model, base.untrained_encoders))
    name = "emo_layer.weight"
    assert torch.equal(_state()[name], read_base(path).untrained_encoders[name])
    assert torch.equal(model.table()["mel_head.bias"], read_base(path).trained["mel_head.bias"])


def test_a_failed_export_leaves_the_old_file(tmp_path: Path) -> None:
    """What can't be written leaves neither a half file nor the old one damaged."""
    path = _saved(tmp_path / "gpt.pth", _state())
    before = path.read_bytes()
    with pytest.raises((AttributeError, TypeError)):
        write_gpt_pth(path, {"mel_head.bias": lambda: None})  # type: ignore[dict-item]  # the subject
    assert before == path.read_bytes()
    assert ["gpt.pth"] == [entry.name for entry in tmp_path.iterdir()]


def test_foreign_encoders_are_not_exported() -> None:
    """Missing, misshapen and surplus encoders are named instead of written."""
    untrained_encoders = fresh_untrained_encoders(CONFIG, seed=1)
    untrained_encoders["surplus"] = untrained_encoders.pop("emo_layer.bias")
    with pytest.raises(SettingsInvalid, match=r"emo_layer.bias: missing.*surplus: surplus"):
        merge(tiny_model(), untrained_encoders)


def test_base_rows_are_identical_and_new_rows_start_at_their_mean(tmp_path: Path) -> None:
    """A larger vocabulary keeps the base's pieces; all other rows, the spare one too, are the mean."""
    base = read_base(_saved(tmp_path / "gpt.pth", _state()))
    frozen = frozen_rows_of(base.vocabulary, 31, train_base_rows=False)
    model = tiny_model(vocabulary=31, frozen_rows=frozen)
    load_base(model, base)
    for name in TEXT_TENSORS:
        pieces, rows = base.trained[name][:VOCABULARY], model.table()[name]
        assert torch.equal(pieces, rows[:VOCABULARY])
        assert 32 == len(rows)
        mean = pieces.double().mean(dim=0).float()
        assert all(torch.equal(mean, row) for row in rows[VOCABULARY:])


def test_rows_are_frozen_only_where_new_ones_are_to_be_trained() -> None:
    """An unchanged vocabulary trains whole, and --train-base-rows opens the base."""
    assert 12_000 == frozen_rows_of(12_000, 24_000, train_base_rows=False)
    assert 0 == frozen_rows_of(12_000, 24_000, train_base_rows=True)
    assert 0 == frozen_rows_of(12_000, 12_000, train_base_rows=False)


def test_a_smaller_tokenizer_than_the_base_is_refused(tmp_path: Path) -> None:
    """Rows would be lost; the message has both sizes."""
    base = read_base(_saved(tmp_path / "gpt.pth", _state()))
    with pytest.raises(SettingsInvalid, match="has 20 text tokens, the tokenizer 15"):
        load_base(tiny_model(vocabulary=15), base)


def test_all_mismatches_with_the_configuration_are_named_at_once(tmp_path: Path) -> None:
    """Each key with both shapes, missing and surplus ones too."""
    base = read_base(_saved(tmp_path / "gpt.pth", _state()))
    other = tiny_config(layers=3, max_mel_tokens=50, condition_num_latent=5)
    with pytest.raises(SettingsInvalid) as caught:
        load_base(tiny_model(other), base)
    what = caught.value.what
    assert "mel_pos_embedding.emb.weight is [43, 12], the configuration makes it [53, 12]" in what
    assert "perceiver_encoder.latents is [4, 12], the configuration makes it [5, 12]" in what
    assert "gpt.h.2.ln_1.weight is missing" in what


def test_a_base_without_speed_rows_decides_for_the_model(tmp_path: Path) -> None:
    """Whether the two rows are there is taken from the file."""
    state = _state()
    del state["speed_emb.weight"]
    model = model_from_file(_saved(tmp_path / "gpt.pth", state), CONFIG)
    assert model.speed_emb is None


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.target),))


def test_a_payload_is_not_executed(tmp_path: Path) -> None:
    """A file that would run code when unpickled is refused without running it."""
    content = {**_legacy_content(latest=True), "extra": _Payload(tmp_path / "executed")}
    path = _saved(tmp_path / "latest.pth", content)
    with pytest.raises(DataInvalid, match="no code from it was run"):
        read_base(path)
    assert ["latest.pth"] == [entry.name for entry in tmp_path.iterdir()]


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"a": 1},
        {"model": 3},
        {1: torch.ones(2)},
        {"model": {"text_embedding.weight": "x"}},
        {"conv.weight": torch.ones(3)},
        torch.ones(3),
    ],
)
def test_foreign_archives_are_refused(tmp_path: Path, content: Any) -> None:
    """An archive of something else is named as such."""
    with pytest.raises(DataInvalid):
        read_base(_saved(tmp_path / "gpt.pth", content))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A wrong path is the user's to mend."""
    with pytest.raises(DataInvalid, match="can't be read"):
        read_base(tmp_path / "none.pth")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Truncated, overwritten and foreign bytes are refused or give a complete set of tensors."""
    folder = tmp_path_factory.mktemp("damage")
    small = {name: tensor for name, tensor in _state().items() if not name.startswith("emo_")}
    whole = _saved(folder / "gpt.pth", small).read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    noise = data.draw(st.binary(max_size=40))
    keep = data.draw(st.booleans())
    (folder / "gpt.pth").write_bytes(
        whole[:at] + noise + (whole[at + len(noise) :] if keep else b"")
    )
    try:
        base = read_base(folder / "gpt.pth")
    except (DataInvalid, SettingsInvalid):  # a damaged name can make it another family
        return
    assert {*base.trained, *base.untrained_encoders}


@pytest.mark.parametrize("latest", [True, False])
def test_checkpoints_of_the_earlier_trainer_can_be_evaluated(tmp_path: Path, latest: bool) -> None:
    """The same weights score the same from a gpt.pth and from either checkpoint."""
    gpt = model_from_file(_saved(tmp_path / "gpt.pth", _state()), CONFIG)
    old = model_from_file(_saved(tmp_path / "old.pth", _legacy_content(latest=latest)), CONFIG)
    assert evaluate(gpt, [tiny_batch()]) == evaluate(old, [tiny_batch()])


def test_untrained_tensors_stay_in_the_file(tmp_path: Path) -> None:
    """The encoders are mapped, so that hundreds of millions of values cost no memory."""
    base: BaseWeights = read_base(_saved(tmp_path / "gpt.pth", _state()))
    untrained_encoders = base.untrained_encoders["emovec_layer.weight"]
    if os.path.exists("/proc/self/maps"):  # noqa: PTH110  not a file but the kernel
        with open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123  likewise
            assert any(line.rstrip().endswith("gpt.pth") for line in maps)
    assert (12, 1024) == tuple(untrained_encoders.shape)
