"""CAM++, the model that turns a recording into a speaker vector.

Wang et al. 2023 (arXiv 2303.00332): two-dimensional residual blocks over frequencies and frames, then
time-delay layers each of which sees the results of all before it and is masked by its context: the
mean of the recording and that of 100 frames. Mean and deviation over time make the vector. The sizes
are those of the published model; modules have the names of the tensors in its file.

Shape letters: T filter-bank frames, S = (T + 1) // 2 frames after the first time-delay layer, B banks,
P planes of an image, C channels, G growth.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import nn
from torch.nn import functional

from unbroken_tts.model.config import SPEAKER_WIDTH
from unbroken_tts.model.kaldi_features import BANKS

LEAST_FRAMES: Final = 3
"""Filter-bank frames that a deviation over time needs at least."""

_PLANES = 32
_FIRST_CHANNELS, _GROWTH, _BOTTLENECK = 128, 32, 128
_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation of each
_SEGMENT = 100


class CamPlusPlus(nn.Module):
    """Turns the filter banks of one recording into a speaker vector; without weights at first."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):
            self.head = _Head()
            self.xvector = nn.Sequential(OrderedDict(_time_delay_layers(_PLANES * BANKS // 8)))
        self.requires_grad_(requires_grad=False)
        self.eval()

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take copies of the tensors of the published file, in float32.

        Args:
            tensors: By name, in any precision.

        Raises:
            RuntimeError: Names or shapes are others; the message names them.
        """
        self.load_state_dict(_in_float32(tensors), strict=True, assign=True)

    def forward(self, banks_TB: torch.Tensor) -> torch.Tensor:
        """Return the speaker vector, (192,) float32.

        Args:
            banks_TB: (T, 80) float32 filter banks, each less its mean over time; T >= 3.
        """
        vector_1C: torch.Tensor = self.xvector(self.head(banks_TB.T[None]))
        return vector_1C[0]


def _in_float32(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return copies with float32 values; the counters of the normalisations stay whole numbers."""
    return {
        name: value.detach().float().clone() if value.is_floating_point() else value.clone()
        for name, value in tensors.items()
    }


def _time_delay_layers(channels: int) -> Iterable[tuple[str, nn.Module]]:
    yield "tdnn", _TimeDelay(channels)
    channels = _FIRST_CHANNELS
    for number, (layers, dilation) in enumerate(_BLOCKS, start=1):
        yield f"block{number}", _Dense(channels, layers, dilation)
        channels += layers * _GROWTH
        yield f"transit{number}", _Transition(channels)
        channels //= 2
    yield "out_nonlinear", _normal_and_positive(channels)
    yield "stats", _Statistics()
    yield "dense", _Embedding(2 * channels)


class _Head(nn.Module):
    """Two-dimensional residual blocks that divide the frequencies by eight."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, _PLANES, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_PLANES)
        self.layer1 = nn.Sequential(_Residual(stride=2), _Residual(stride=1))
        self.layer2 = nn.Sequential(_Residual(stride=2), _Residual(stride=1))
        self.conv2 = nn.Conv2d(_PLANES, _PLANES, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_PLANES)

    def forward(self, banks_1BT: torch.Tensor) -> torch.Tensor:
        image = functional.relu(self.bn1(self.conv1(banks_1BT[:, None])))  # (1, P, B, T)
        image = self.layer2(self.layer1(image))
        image = functional.relu(self.bn2(self.conv2(image)))
        return image.flatten(1, 2)  # (1, P, B / 8, T) -> (1, P * B / 8, T)


class _Residual(nn.Module):
    """Two convolutions beside a shortcut; only frequencies are strided over."""

    def __init__(self, *, stride: int) -> None:
        super().__init__()
        strides = (stride, 1)
        self.conv1 = nn.Conv2d(_PLANES, _PLANES, 3, stride=strides, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_PLANES)
        self.conv2 = nn.Conv2d(_PLANES, _PLANES, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_PLANES)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(_PLANES, _PLANES, 1, stride=strides, bias=False),
                nn.BatchNorm2d(_PLANES),
            )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.bn1(self.conv1(image)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(image))


def _normal_and_positive(channels: int) -> nn.Sequential:
    layers = {"batchnorm": nn.BatchNorm1d(channels), "relu": nn.ReLU()}
    return nn.Sequential(OrderedDict(layers))


class _TimeDelay(nn.Module):
    """A convolution over five frames that keeps every second one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, _FIRST_CHANNELS, 5, stride=2, padding=2, bias=False)
        self.nonlinear = _normal_and_positive(_FIRST_CHANNELS)

    def forward(self, rows_1CT: torch.Tensor) -> torch.Tensor:
        rows_1CS: torch.Tensor = self.nonlinear(self.linear(rows_1CT))
        return rows_1CS


class _Dense(nn.Module):
    """Layers each of which appends its channels to those that it saw."""

    def __init__(self, channels: int, layers: int, dilation: int) -> None:
        super().__init__()
        for number in range(layers):
            self.add_module(f"tdnnd{number + 1}", _Layer(channels + number * _GROWTH, dilation))

    def forward(self, rows_1CS: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            rows_1CS = torch.cat([rows_1CS, layer(rows_1CS)], dim=1)
        return rows_1CS


class _Layer(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _normal_and_positive(channels)
        self.linear1 = nn.Conv1d(channels, _BOTTLENECK, 1, bias=False)
        self.nonlinear2 = _normal_and_positive(_BOTTLENECK)
        self.cam_layer = _ContextMasked(dilation)

    def forward(self, rows_1CS: torch.Tensor) -> torch.Tensor:
        rows_1GS: torch.Tensor = self.cam_layer(
            self.nonlinear2(self.linear1(self.nonlinear1(rows_1CS)))
        )
        return rows_1GS


class _ContextMasked(nn.Module):
    """A dilated convolution over three frames, masked by what the frames around it are like."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(
            _BOTTLENECK, _GROWTH, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(_BOTTLENECK, _BOTTLENECK // 2, 1)
        self.linear2 = nn.Conv1d(_BOTTLENECK // 2, _GROWTH, 1)

    def forward(self, rows_1CS: torch.Tensor) -> torch.Tensor:
        context_1CS = rows_1CS.mean(dim=-1, keepdim=True) + _segment_means(rows_1CS)
        mask_1GS = torch.sigmoid(self.linear2(functional.relu(self.linear1(context_1CS))))
        masked_1GS: torch.Tensor = self.linear_local(rows_1CS) * mask_1GS
        return masked_1GS


def _segment_means(rows_1CS: torch.Tensor) -> torch.Tensor:
    """Return each frame's mean over its segment of 100 frames; the last may be shorter."""
    means = functional.avg_pool1d(rows_1CS, _SEGMENT, _SEGMENT, ceil_mode=True)
    return means.repeat_interleave(_SEGMENT, dim=-1)[..., : rows_1CS.shape[-1]]


class _Transition(nn.Module):
    """Halves the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = _normal_and_positive(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, rows_1CS: torch.Tensor) -> torch.Tensor:
        halved_1CS: torch.Tensor = self.linear(self.nonlinear(rows_1CS))
        return halved_1CS


class _Statistics(nn.Module):
    """Mean and deviation over time, the latter with S - 1 in its denominator: (1, C, S) -> (1, 2 C)."""

    def forward(self, rows_1CS: torch.Tensor) -> torch.Tensor:
        return torch.cat([rows_1CS.mean(dim=-1), rows_1CS.std(dim=-1, correction=1)], dim=-1)


class _Embedding(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, SPEAKER_WIDTH, 1, bias=False)
        normal = {"batchnorm": nn.BatchNorm1d(SPEAKER_WIDTH, affine=False)}
        self.nonlinear = nn.Sequential(OrderedDict(normal))

    def forward(self, statistics_1C: torch.Tensor) -> torch.Tensor:
        vector_1C: torch.Tensor = self.nonlinear(self.linear(statistics_1C[..., None])[..., 0])
        return vector_1C
