"""pydicom's own decoding plugins, for a machine without imagecodecs; slower, and most hold the interpreter lock.

pylibjpeg-libjpeg is GPL-3 and never asked for: of pylibjpeg's plugins only openjpeg (MIT) and rle (MIT) are.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.decoders import codestream
from fedmed.dicom.decoders.codecs import HTJ2K, JPEG, JPEG_2000, JPEG_LS
from fedmed.dicom.decoders.rle import SYNTAXES as RLE
from fedmed.dicom.header import Header
from fedmed.dicom.reasons import Reason, Untrusted

PACKAGE = "python-gdcm, pylibjpeg-openjpeg, pyjpegls or pillow"
SYNTAXES = {**RLE, **JPEG, **JPEG_LS, **JPEG_2000, **HTJ2K}
# In order of preference; each with the modules that it needs.
PLUGINS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    **dict.fromkeys(RLE, (("pydicom", ()),)),
    **dict.fromkeys(JPEG, (("gdcm", ("gdcm",)), ("pillow", ("PIL",)))),
    **dict.fromkeys(JPEG_LS, (("pyjpegls", ("jpeg_ls",)), ("gdcm", ("gdcm",)))),
    **dict.fromkeys(JPEG_2000, (("pylibjpeg", ("pylibjpeg", "openjpeg")), ("gdcm", ("gdcm",)))),
    **dict.fromkeys(HTJ2K, (("pylibjpeg", ("pylibjpeg", "openjpeg")),)),
}


def _plugin(syntax: str) -> str | None:
    from pydicom.pixels import get_decoder

    usable = get_decoder(syntax).available_plugins
    for name, modules in PLUGINS[syntax]:
        if name in usable and all(find_spec(module) for module in modules):
            return name
    return None


def is_available(syntax: str) -> bool:
    """Whether one of the plugins that may be used for it is installed."""
    return _plugin(syntax) is not None


def decode_frame(data: bytes, header: Header, out: NDArray[np.generic]) -> bool:
    """One frame into `out` (rows, columns[, samples]); whether its samples are YBR_FULL."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    _check(data, header)
    try:
        found, properties = get_decoder(header.transfer_syntax).as_array(
            encapsulate([data]),
            raw=True,
            decoding_plugin=_plugin(header.transfer_syntax) or "",
            rows=header.rows,
            columns=header.columns,
            number_of_frames=1,
            samples_per_pixel=header.samples,
            photometric_interpretation=header.photometric,
            planar_configuration=header.planar,
            bits_allocated=header.bits_allocated,
            bits_stored=header.bits_stored,
            pixel_representation=int(header.signed),
        )
    except (RuntimeError, ValueError, NotImplementedError, AttributeError, MemoryError) as error:
        raise Untrusted(Reason.DECODE_FAILED, " ".join(str(error).split())) from error
    if found.shape != out.shape or found.dtype != out.dtype:
        raise Untrusted(
            Reason.DECODE_FAILED, f"A frame decodes to {found.dtype} {found.shape}, not {out.dtype} {out.shape}."
        )
    out[...] = found
    return str(properties["photometric_interpretation"]).startswith("YBR_FULL")


def _check(data: bytes, header: Header) -> None:
    """The codestream's sizes, as before every codec."""
    if header.transfer_syntax in JPEG or header.transfer_syntax in JPEG_LS:
        codestream.of_jpeg(data).check(header)
    elif header.transfer_syntax not in RLE:
        codestream.of_jpeg2000(data)[0].check(header)
