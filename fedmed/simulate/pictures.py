"""A picture of one test case: the image, and the drawn mask against the true one. Only a simulation's harness may look."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.sites.cases import Cases

SIDE = 360
GAP, GAP_GREY = 6, 128
HIT, MISSED, FALSE = (86, 180, 233), (230, 159, 0), (204, 121, 167)  # Okabe & Ito 2008
STRENGTH = 0.85
GREYS = 112

Picture = dict[str, Any]


def draw(case: Cases, decided: NDArray[np.uint8], dice: float) -> Picture:
    """The one case of `case` with the mask `decided ([D,] H, W)`: PNG (base64), its Dice and, of a volume, which slice.

    Left the image, right the mask on it: hit, missed, and false or of another class. Of a volume, the slice in which
    the most is drawn.
    """
    image, truth = _grey(case), case.y[0]
    at = None
    if truth.ndim == 3:
        at = int(((truth > 0) | (decided > 0)).sum((1, 2)).argmax())
        image, truth, decided = image[at], truth[at], decided[at]
    grey = _as_bytes(image)
    coloured = grey.astype(np.float32)
    for place, colour in (
        ((truth > 0) & (decided == truth), HIT),
        ((truth > 0) & (decided == 0), MISSED),
        ((decided > 0) & (decided != truth), FALSE),
    ):
        coloured[place] = coloured[place] * (1 - STRENGTH) + np.array(colour, np.float32) * STRENGTH
    return {"png": _png(grey, coloured.astype(np.uint8)), "dice": dice, "slice": at}


def _grey(case: Cases) -> NDArray[np.float32]:
    """`([D,] H, W)`: the one channel, or the mean of several."""
    x = case.x[0].astype(np.float32)
    return np.asarray(x if x.ndim == case.spatial else x.mean(0))


def _as_bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`(H, W, 3)`, the darkest and brightest hundredth cut off."""
    low, high = np.percentile(image, (1, 99))
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.repeat(scaled[..., None], 3, -1).astype(np.uint8)


def _png(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> str:
    from PIL import Image

    height, width = left.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    sheet = Image.new("RGB", (2 * size[0] + GAP, size[1]), (GAP_GREY,) * 3)
    how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    sheet.paste(Image.fromarray(left).resize(size, how), (0, 0))
    sheet.paste(Image.fromarray(right).resize(size, how), (size[0] + GAP, 0))
    file = io.BytesIO()
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette())
    sheet.quantize(palette=palette, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _palette() -> bytes:
    """256 colours: greys, and each of the three colours in six strengths over eight greys.

    One byte a voxel instead of three; a palette fitted to the picture would drop what is rare, such as a missed vessel.
    """
    greys = np.repeat(np.linspace(0, 255, GREYS)[:, None], 3, 1)
    under = np.repeat(np.linspace(0, 255, 8)[:, None], 3, 1)
    strengths = np.linspace(0.2, STRENGTH, 6)
    mixed = [np.array(colour) * t + under * (1 - t) for colour in (HIT, MISSED, FALSE) for t in strengths]
    return np.concatenate([greys, *mixed]).round().astype(np.uint8).tobytes()
