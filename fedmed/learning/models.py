"""The models by name. Normalisation is GroupNorm (Wu & He 2018): BatchNorm breaks averaging and differential privacy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fedmed.config import plugins
from fedmed.errors import ConfigError
from fedmed.learning.order import KindName
from fedmed.learning.volumes import densenet121, unet

GROUP = "fedmed.models"
Factory = Callable[..., nn.Module]


def logistic_regression(inputs: Sequence[int], outputs: int) -> nn.Module:
    """One linear layer over the flattened input: `(N, *inputs)` -> logits `(N, outputs)`."""
    return nn.Sequential(nn.Flatten(), nn.Linear(_size(inputs), outputs))


def mlp(inputs: Sequence[int], outputs: int, hidden: int = 256, layers: int = 2, dropout: float = 0.4) -> nn.Module:
    """`layers` hidden layers of `hidden` units with dropout: `(N, *inputs)` -> logits `(N, outputs)`."""
    if hidden < 1 or layers < 0:
        raise ValueError(f"got {layers} layers of {hidden} units, allowed: layers from 0, units from 1")
    parts: list[nn.Module] = [nn.Flatten()]
    width = _size(inputs)
    for _ in range(layers):
        parts += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
        width = hidden
    return nn.Sequential(*parts, nn.Linear(width, outputs))


class SmallCnn(nn.Module):
    """Convolution blocks (3x3, GroupNorm, max-pool, ReLU), global pooling, dropout: `(N, C, H, W)` -> `(N, outputs)`.

    ReLU stands after the pooling: the same function, a quarter of the work. `standardise` gives every image mean 0 and
    standard deviation 1 first, after augmentation: exposures differ between scanners. `pool_max` adds the global maximum
    to the global mean, for findings much smaller than the image.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        outputs: int,
        widths: Sequence[int] = (32, 64, 128),
        dropout: float = 0.3,
        standardise: bool = False,
        pool_max: bool = False,
    ) -> None:
        super().__init__()
        channels = inputs[0]
        blocks: list[nn.Module] = [nn.InstanceNorm2d(channels)] if standardise else []
        for width in widths:
            blocks += [nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(8, width), nn.MaxPool2d(2), nn.ReLU()]
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.pool_max = pool_max
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels * (1 + pool_max), outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        maps = self.blocks(x)
        pooled = maps.mean((2, 3))
        if self.pool_max:
            pooled = torch.cat([pooled, maps.amax((2, 3))], 1)
        return self.head(pooled)  # type: ignore[no-any-return]


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016, figure 2), GroupNorm for BatchNorm."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.GroupNorm(8, width),
        )
        same = stride == 1 and channels == width
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, of `width` channels."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 for small images (3x3 stem without pooling): `(N, C, H, W)` -> `(N, outputs)`."""

    def __init__(self, inputs: Sequence[int], outputs: int, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(inputs[0], width, 3, 1, 1, bias=False), nn.GroupNorm(8, width), nn.ReLU())
        blocks, channels = [], width
        for stage in range(4):
            for block in range(2):
                blocks.append(Residual(channels, width << stage, 2 if stage and not block else 1))
                channels = width << stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))  # type: ignore[no-any-return]


TABLE: dict[str, Factory] = {
    "logistic-regression": logistic_regression,
    "mlp": mlp,
    "small-cnn": SmallCnn,
    "resnet18": ResNet18,
    "densenet121": densenet121,
    "unet": unet,
}


def build(
    name: str, inputs: Sequence[int], outputs: int, options: dict[str, Any], kind: KindName = "classification"
) -> nn.Module:
    """The model `name` for inputs of shape `inputs` (without the batch).

    Raises ConfigError where it cannot be made, and where its logits are not those of the kind of task.
    """
    factory = find(name)
    allowed = [key for key in inspect.signature(factory).parameters if key not in ("inputs", "outputs")]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ConfigError(
            f"task.model_options: {', '.join(unknown)} unknown to {name}; allowed: {', '.join(allowed) or 'none'}"
        )
    try:
        model = factory(list(inputs), outputs, **options)
        with torch.no_grad():
            made = tuple(model.eval()(torch.zeros(2, *inputs)).shape[1:])
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise ConfigError(f"model {name} cannot be built for inputs of shape {list(inputs)}: {error}") from error
    wanted = (outputs, *inputs[1:]) if kind == "segmentation" else (outputs,)
    if made != wanted:
        raise ConfigError(f"model {name} makes logits of shape {list(made)} a case; a {kind} needs {list(wanted)}")
    return model.train()


def find(name: str) -> Factory:
    """The factory of a model: built in, or an entry point of the group `fedmed.models`."""
    if name in TABLE:
        return TABLE[name]
    added = plugins.load(GROUP, name, "task.model")
    if callable(added):
        return added  # type: ignore[no-any-return]
    if added is not None:
        raise ConfigError(f"task.model: {name!r} is a {type(added).__name__}; expected a function (inputs, outputs, ...)")
    known = ", ".join(sorted([*TABLE, *plugins.names(GROUP)]))
    raise ConfigError(f"task.model: got {name!r}, allowed: {known} (or your own, entry point {GROUP})")


def _size(inputs: Sequence[int]) -> int:
    size = 1
    for length in inputs:
        size *= length
    return size
