"""Lossless codestreams on an NVIDIA GPU by nvImageCodec: opt-in, and held against the CPU's decode bit by bit.

It has returned zeros without a word, for 12-bit JPEG Lossless of one maker (monai-deploy-app-sdk, pull request 582). So it
decodes only where FEDMED_NVIMGCODEC=1 asks; the first frames of every kind, and one in `EVERY` after them, are decoded
by imagecodecs as well; and one difference ends its use for that kind in this process: the CPU's samples count, and the log
says so. Of lossy streams two right decoders differ, so that nothing could be told from a comparison: they stay with the CPU.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.decoders import codecs
from fedmed.dicom.header import Header
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.errors import first_line

ASKED = "FEDMED_NVIMGCODEC"
PACKAGE = ""  # no error advises it: it is for those who ask
SYNTAXES = {
    syntax: name
    for syntax, name in codecs.SYNTAXES.items()
    if syntax in ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202")
}
FIRST, EVERY = 4, 16

_log = logging.getLogger("fedmed")
_lock = threading.Lock()
_seen: Counter[tuple[object, ...]] = Counter()
_refuted: set[tuple[object, ...]] = set()
_own = threading.local()


def is_available(syntax: str) -> bool:
    """Whether somebody asked for it, and it and the CPU's decoder to check it with are there."""
    return os.environ.get(ASKED) == "1" and codecs.is_available(syntax) and why_not() is None


@cache
def why_not() -> str | None:
    """Why it cannot be used here, or None."""
    if find_spec("nvidia") is None or find_spec("nvidia.nvimgcodec") is None:
        return "nvidia-nvimgcodec is not installed"
    try:
        _decoder()
    except (RuntimeError, OSError, ImportError) as error:
        return first_line(error)
    return None


def decode_frame(data: bytes, header: Header, out: NDArray[np.generic]) -> bool:
    """One frame into `out` (rows, columns[, samples]); whether its samples are YBR_FULL. Raises Untrusted."""
    kind = (header.transfer_syntax, header.rows, header.columns, header.samples, header.bits_stored, header.signed)
    with _lock:
        number, refuted = _seen[kind], kind in _refuted
        _seen[kind] += 1
    checked = number < FIRST or number % EVERY == 0
    if not refuted and not checked:
        try:
            return codecs.decode_frame(data, header, out, _decoded)
        except Untrusted as error:
            _strike_off(kind, error.detail)
    ybr = codecs.decode_frame(data, header, out)
    if not refuted and checked:
        _compare(data, header, out, kind)
    return ybr


def _compare(data: bytes, header: Header, wanted: NDArray[np.generic], kind: tuple[object, ...]) -> None:
    """Strike the kind off where the GPU's samples are not the CPU's."""
    found = np.zeros_like(wanted)
    try:
        codecs.decode_frame(data, header, found, _decoded)
        if not np.array_equal(found, wanted):
            _strike_off(kind, f"{np.count_nonzero(found != wanted)} samples differ")
    except Untrusted as error:
        _strike_off(kind, error.detail)


def _strike_off(kind: tuple[object, ...], reason: str) -> None:
    with _lock:
        _refuted.add(kind)
    _log.warning("nvimgcodec does not decode %s as the CPU does (%s); it is not used for it any more", kind, reason)


def _decoded(name: str, data: bytes, **options: str) -> NDArray[np.generic]:
    """What `codecs` asks of a codec: components as they were encoded, at their own depth."""
    from nvidia import nvimgcodec

    params = nvimgcodec.DecodeParams(
        apply_exif_orientation=False, color_spec=nvimgcodec.ColorSpec.UNCHANGED, allow_any_depth=True
    )
    image = _decoder().decode(nvimgcodec.CodeStream(data), params=params)
    if image is None:
        raise Untrusted(Reason.DECODE_FAILED, f"nvimgcodec {name}: it gives no image.")
    samples: NDArray[np.generic] = np.asarray(image.cpu())
    return samples[..., 0] if samples.ndim == 3 and samples.shape[-1] == 1 else samples


def _decoder() -> Any:
    """This thread's own."""
    if not hasattr(_own, "decoder"):
        from nvidia import nvimgcodec

        _own.decoder = nvimgcodec.Decoder()
    return _own.decoder
