"""A site's cases as tensors, prepared once and kept: features, then standardisation, then clipping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmed.errors import DataError
from fedmed.learning import features
from fedmed.learning.order import Preparation
from fedmed.preprocess.moments import Moments, moments
from fedmed.sites.cases import Cases, Site

TINY = 1e-9  # added to a standard deviation, as in the published heart protocol


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation per feature."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def apply(self, x: NDArray[np.float32], clip: float | None) -> NDArray[np.float32]:
        """Standardised values, clipped to `clip` standard deviations where given."""
        case = x.shape[1:]  # moments are kept flat, whatever the shape of a case
        scaled = (x - self.mean.reshape(case)) / self.std.reshape(case)
        return scaled if clip is None else np.clip(scaled, -clip, clip)


def scale_of(total: Moments) -> Scale:
    """The scale of summed moments; unbiased, as published."""
    mean, std = total.mean_std(unbiased=total.n > 1)
    return Scale(mean.astype(np.float32), (std + TINY).astype(np.float32))


def featurise(cases: Cases, preparation: Preparation) -> NDArray[np.float32]:
    """The features of the cases, before any scale: `(N, ...)` float32; a volume gets its axis of channels here."""
    x = cases.x[:, None] if cases.spatial == 3 and cases.x.ndim == 4 else cases.x
    return features.TABLE[preparation.features](x)


def moments_of(cases: Cases, preparation: Preparation) -> Moments:
    """Sums over the site's training cases from which the federation's scale is made."""
    return moments(featurise(cases, preparation))


@dataclass(frozen=True)
class Inputs:
    """One site's tensors: `x (N, ...)` float32 and `y (N,)` int64 or masks `(N, [D,] H, W)` uint8 per split."""

    name: str
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def prepare(site: Site, preparation: Preparation, scale: Scale | None = None) -> Inputs:
    """The site's inputs; `scale` overrides what `preparation` says. Raises DataError for values that are not finite."""
    scale = scale or _scale(site, preparation)
    splits = {part: getattr(site, part) for part in ("train", "validation", "test")}
    return Inputs(site.name, **{part: tensors(cases, preparation, scale, site.name) for part, cases in splits.items()})


def tensors(cases: Cases, preparation: Preparation, scale: Scale | None, name: str) -> tuple[Tensor, Tensor]:
    """Inputs and classes of some cases of the site `name`."""
    values = featurise(cases, preparation)
    if scale is not None:
        values = scale.apply(values, preparation.clip)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values).all(tuple(range(1, values.ndim)))).sum())
        raise DataError(f"site {name}: {bad} of {len(values)} cases hold values that are not finite; mend or remove them")
    values = np.require(values, requirements=("C", "W"))  # what is mapped from disk is read-only, which torch dislikes
    return torch.from_numpy(values), torch.from_numpy(cases.y.copy())


def _scale(site: Site, preparation: Preparation) -> Scale | None:
    if preparation.normalise == "site":
        return scale_of(moments_of(site.train, preparation))
    if preparation.mean is None or preparation.std is None:
        return None
    return Scale(np.asarray(preparation.mean, np.float32), np.asarray(preparation.std, np.float32))
