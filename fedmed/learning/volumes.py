"""MONAI's networks for images and volumes, with normalisations that averaging keeps. MONAI is imported when one is built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from fedmed.errors import MissingPart

GROUPS = 8


def unet(
    inputs: Sequence[int],
    outputs: int,
    channels: Sequence[int] = (16, 32, 64, 128),
    strides: Sequence[int] = (),
    residual_units: int = 0,
    dropout: float = 0.0,
    shrink: int = 1,
) -> nn.Module:
    """U-Net (Ronneberger et al. 2015; Kerfoot et al. 2019 with residual units), InstanceNorm, PReLU.

    `(N, C, [D,] H, W)` -> logits `(N, outputs, [D,] H, W)`. `strides` between the levels are 2 when empty. With `shrink`
    the network works on a grid that many times coarser and its logits are interpolated back: an eighth of the work for a
    volume whose voxels are finer than what is looked for. Raises MissingPart without MONAI, ValueError for sides that
    strides and shrink do not divide.
    """
    strides = list(strides) or [2] * (len(channels) - 1)
    whole, sides = math.prod(strides) * shrink, list(inputs[1:])
    if shrink < 1 or any(side % whole for side in sides):
        raise ValueError(f"sides {sides} are no multiples of {whole}, strides and shrink together; mend task.patches.size")
    if math.prod(sides) // whole ** len(sides) < 2:
        raise ValueError(f"sides {sides} leave a single voxel at the lowest level; take fewer levels or larger patches")
    network = _monai().UNet(
        len(sides),
        inputs[0],
        outputs,
        list(channels),
        strides,
        num_res_units=residual_units,
        norm=("instance", {"affine": True}),
        dropout=dropout,
    )
    return network if shrink == 1 else Coarser(network, shrink)


class Coarser(nn.Module):
    """A network on a coarser grid: means of `factor` voxels along each axis go in, logits are interpolated linearly back."""

    def __init__(self, network: nn.Module, factor: int) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x: Tensor) -> Tensor:
        """Logits on the grid of `x`."""
        volume = x.ndim == 5
        pooled = (functional.avg_pool3d if volume else functional.avg_pool2d)(x, self.factor)
        mode = "trilinear" if volume else "bilinear"
        return functional.interpolate(self.network(pooled), x.shape[2:], mode=mode, align_corners=False)


def densenet121(
    inputs: Sequence[int],
    outputs: int,
    blocks: Sequence[int] = (6, 12, 24, 16),
    growth: int = 32,
    first: int = 64,
    dropout: float = 0.0,
) -> nn.Module:
    """DenseNet-121 (Huang et al. 2017), GroupNorm for BatchNorm: `(N, C, [D,] H, W)` -> logits `(N, outputs)`.

    `first` and `growth` are the widths of stem and layers, multiples of 16 and 8. Raises MissingPart without MONAI.
    """
    return _monai().DenseNet(  # type: ignore[no-any-return]
        len(inputs) - 1,
        inputs[0],
        outputs,
        init_features=first,
        growth_rate=growth,
        block_config=tuple(blocks),
        norm=("group", {"num_groups": GROUPS}),
        dropout_prob=dropout,
    )


def _monai() -> Any:
    try:
        from monai.networks import nets  # three seconds
    except ImportError as error:
        raise MissingPart("this network is MONAI's; install it with: pip install 'fedmed[imaging]'") from error
    return nets
