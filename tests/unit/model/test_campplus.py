from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from support.indextts25_folder import speaker_model_tensors
from unbroken_tts.model.campplus import LEAST_FRAMES, CamPlusPlus
from unbroken_tts.model.config import SPEAKER_WIDTH

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    """A random speaker model of the published sizes."""
    return speaker_model_tensors(torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def model(tensors: Tensors) -> CamPlusPlus:
    """The module with these weights."""
    found = CamPlusPlus()
    found.load(tensors)
    return found


def _normal(tensors: Tensors, at: str, rows: torch.Tensor) -> torch.Tensor:
    shape = (1, -1) + (1,) * (rows.dim() - 2)
    mean, variance = tensors[f"{at}.running_mean"], tensors[f"{at}.running_var"]
    rows = (rows - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt()
    if f"{at}.weight" not in tensors:
        return rows
    return rows * tensors[f"{at}.weight"].view(shape) + tensors[f"{at}.bias"].view(shape)


def _head(tensors: Tensors, banks: torch.Tensor) -> torch.Tensor:
    """(T, 80) -> (1, 320, T)."""

    def conv(at: str, image: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = tensors[f"head.{at}.weight"]
        return functional.conv2d(image, weight, stride=(stride, 1), padding=weight.shape[-1] // 2)

    def normal(at: str, image: torch.Tensor) -> torch.Tensor:
        return _normal(tensors, f"head.{at}", image)

    image = normal("bn1", conv("conv1", banks.T[None, None])).relu()
    for layer in ("layer1", "layer2"):
        for block, stride in ((f"{layer}.0", 2), (f"{layer}.1", 1)):
            inner = normal(f"{block}.bn1", conv(f"{block}.conv1", image, stride)).relu()
            inner = normal(f"{block}.bn2", conv(f"{block}.conv2", inner))
            if stride == 2:
                image = normal(f"{block}.shortcut.1", conv(f"{block}.shortcut.0", image, 2))
            image = (inner + image).relu()
    image = normal("bn2", conv("conv2", image, 2)).relu()
    return image.reshape(1, -1, image.shape[-1])


def _layer(tensors: Tensors, at: str, rows: torch.Tensor, dilation: int) -> torch.Tensor:
    """(1, C, S) -> (1, 32, S)."""

    def normal(name: str, rows: torch.Tensor) -> torch.Tensor:
        return _normal(tensors, f"{at}.{name}.batchnorm", rows).relu()

    def conv(name: str, rows: torch.Tensor, **options: int) -> torch.Tensor:
        weight, bias = tensors[f"{at}.{name}.weight"], tensors.get(f"{at}.{name}.bias")
        return functional.conv1d(rows, weight, bias, **options)

    narrow = normal("nonlinear2", conv("linear1", normal("nonlinear1", rows)))
    segments = [piece.mean(-1, keepdim=True).expand_as(piece) for piece in narrow.split(100, -1)]
    context = narrow.mean(-1, keepdim=True) + torch.cat(segments, -1)
    mask = conv("cam_layer.linear2", conv("cam_layer.linear1", context).relu()).sigmoid()
    return mask * conv("cam_layer.linear_local", narrow, padding=dilation, dilation=dilation)


def _formulas(tensors: Tensors, banks: torch.Tensor) -> torch.Tensor:
    """The vector of filter banks (T, 80) by the formulas of the paper and the published sizes."""
    weight = tensors["xvector.tdnn.linear.weight"]
    rows = functional.conv1d(_head(tensors, banks), weight, stride=2, padding=2)
    rows = _normal(tensors, "xvector.tdnn.nonlinear.batchnorm", rows).relu()
    for block, layers, dilation in ((1, 12, 1), (2, 24, 2), (3, 16, 2)):
        for number in range(layers):
            at = f"xvector.block{block}.tdnnd{number + 1}"
            rows = torch.cat([rows, _layer(tensors, at, rows, dilation)], dim=1)
        at = f"xvector.transit{block}"
        rows = _normal(tensors, f"{at}.nonlinear.batchnorm", rows).relu()
        rows = functional.conv1d(rows, tensors[f"{at}.linear.weight"])
    rows = _normal(tensors, "xvector.out_nonlinear.batchnorm", rows).relu()
    mean = rows.mean(-1, keepdim=True)
    deviation = ((rows - mean).square().sum(-1) / (rows.shape[-1] - 1)).sqrt()
    statistics = torch.cat([mean[..., 0], deviation], dim=1)
    vector = statistics @ tensors["xvector.dense.linear.weight"][..., 0].T
    return _normal(tensors, "xvector.dense.nonlinear.batchnorm", vector)[0]


def test_the_published_model_has_the_known_sizes() -> None:
    """937 tensors; 6,848,544 weights besides means, variances and counters."""
    table = CamPlusPlus().state_dict()
    counted = ("running_mean", "running_var", "num_batches_tracked")
    weights = {name: each for name, each in table.items() if not name.endswith(counted)}
    assert (937, 6_848_544) == (len(table), sum(math.prod(w.shape) for w in weights.values()))


@pytest.mark.parametrize("frames", [LEAST_FRAMES, 4, 417])
def test_a_speaker_vector_is_that_of_the_formulas(
    model: CamPlusPlus, tensors: Tensors, frames: int
) -> None:
    """From the shortest recording to one of several segments."""
    banks = torch.randn(frames, 80, generator=torch.Generator().manual_seed(frames))
    with torch.inference_mode():
        found, expected = model(banks), _formulas(tensors, banks)
    assert (SPEAKER_WIDTH,) == found.shape
    assert float(expected.std()) > 0.05
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_file_with_other_names_or_shapes_is_refused(tensors: Tensors) -> None:
    """Nothing stays uninitialised and nothing is left over."""
    without = {name: each for name, each in tensors.items() if name != "head.bn1.running_var"}
    with pytest.raises(RuntimeError, match=r"Missing key.*head\.bn1\.running_var"):
        CamPlusPlus().load(without)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*other"):
        CamPlusPlus().load({**tensors, "other": torch.zeros(1)})
    narrow = {**tensors, "xvector.dense.linear.weight": torch.zeros(512, 1024, 1)}
    with pytest.raises(RuntimeError, match=r"size mismatch for xvector\.dense\.linear\.weight"):
        CamPlusPlus().load(narrow)
