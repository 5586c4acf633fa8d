"""JPEG, JPEG-LS, JPEG 2000 and HTJ2K by imagecodecs, whose calls release the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.decoders import codestream
from fedmed.dicom.decoders.samples import clear_unused_bits
from fedmed.dicom.header import Header
from fedmed.dicom.reasons import Reason, Untrusted
from fedmed.errors import first_line

PACKAGE = "imagecodecs (fedmed[imaging])"
JPEG = {
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless SV1",
}
JPEG_LS = {"1.2.840.10008.1.2.4.80": "JPEG-LS Lossless", "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless"}
JPEG_2000 = {"1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless", "1.2.840.10008.1.2.4.91": "JPEG 2000"}
HTJ2K = {
    "1.2.840.10008.1.2.4.201": "HTJ2K Lossless",
    "1.2.840.10008.1.2.4.202": "HTJ2K Lossless RPCL",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
SYNTAXES = {**JPEG, **JPEG_LS, **JPEG_2000, **HTJ2K}
Codec = Callable[..., NDArray[np.generic]]
"""`(name, codestream, **options)` -> samples; raises Untrusted."""


def is_available(syntax: str) -> bool:
    """Whether imagecodecs is installed with the codec; wheels for odd machines leave some out."""
    if find_spec("imagecodecs") is None:
        return False
    import imagecodecs

    codec = next(name for name, group in _CODECS if syntax in group)
    return bool(getattr(imagecodecs, codec).available)


def _decoded(name: str, data: bytes, **options: str) -> NDArray[np.generic]:
    import imagecodecs

    try:
        found: NDArray[np.generic] = getattr(imagecodecs, f"{name}_decode")(data, **options)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise Untrusted(Reason.DECODE_FAILED, f"imagecodecs {name}: {first_line(error)}.") from error
    return found


def decode_frame(data: bytes, header: Header, out: NDArray[np.generic], decoded: Codec = _decoded) -> bool:
    """One frame into `out` (rows, columns[, samples]); whether its samples are YBR_FULL.

    `decoded` is what turns a codestream into samples, another than imagecodecs where given.
    """
    if header.transfer_syntax in JPEG_2000 or header.transfer_syntax in HTJ2K:
        return _jpeg2000(data, header, out, decoded)
    stream = codestream.of_jpeg(data)
    stream.check(header)
    ybr = stream.samples == 3 and (header.photometric.startswith("YBR_FULL") if stream.ybr is None else stream.ybr)
    if header.transfer_syntax in JPEG_LS:
        _into(out, decoded("jpegls", data))
        if header.signed:  # a JPEG-LS codestream knows no sign
            clear_unused_bits(out, 8 * out.itemsize - min(stream.precision, header.bits_stored))
        return ybr
    # Its components as they were encoded: what colour they are is decided here, not by the codec.
    space = "YCBCR" if stream.samples == 3 else "GRAYSCALE"
    _into(out, decoded("jpeg8", data, colorspace=space, outcolorspace=space))
    clear_unused_bits(out, header.bits_allocated - header.bits_stored)
    return ybr


def _jpeg2000(data: bytes, header: Header, out: NDArray[np.generic], decoded: Codec) -> bool:
    stream, data = codestream.of_jpeg2000(data)
    stream.check(header)
    _into(out, decoded("jpeg2k" if header.transfer_syntax in JPEG_2000 else "htj2k", data))
    if header.samples == 1 and stream.signed != header.signed:
        # Encoded with the other sign than the header's: the bits are right, what extends them is not.
        clear_unused_bits(out, 8 * out.itemsize - stream.precision)
    return header.photometric.startswith("YBR_FULL")  # YBR_ICT and YBR_RCT are undone by the codec (PS3.5 section 8.2.4)


def _into(out: NDArray[np.generic], found: NDArray[np.generic]) -> None:
    """The codec's words as the header's: signed or not first, then as wide."""
    if found.shape != out.shape or found.dtype.kind not in "iu" or found.itemsize > out.itemsize:
        raise Untrusted(
            Reason.DECODE_FAILED, f"A frame decodes to {found.dtype} {found.shape}, not {out.dtype} {out.shape}."
        )
    out[...] = found.view(f"{out.dtype.kind}{found.itemsize}")


_CODECS = (("JPEG8", JPEG), ("JPEGLS", JPEG_LS), ("JPEG2K", JPEG_2000), ("HTJ2K", HTJ2K))
