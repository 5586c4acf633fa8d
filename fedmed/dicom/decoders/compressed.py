"""Compressed pixels: frame by frame through the first back end that is installed, in threads."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fedmed.dicom.decoders import codecs, deflated, nvimgcodec, plugins, rle
from fedmed.dicom.decoders.encapsulated import frames_of
from fedmed.dicom.decoders.samples import to_rgb
from fedmed.dicom.header import Header
from fedmed.dicom.instance import Instance
from fedmed.dicom.reasons import Reason, Untrusted


class Backend(Protocol):
    """What a module of this folder has that decodes frames."""

    PACKAGE: str
    """What a person installs; empty where no error should advise it."""
    SYNTAXES: Mapping[str, str]
    """Transfer syntaxes, and what they are called."""

    def is_available(self, syntax: str) -> bool:
        """Whether what it needs for this one is installed."""

    def decode_frame(self, data: bytes, header: Header, out: NDArray[np.generic]) -> bool:
        """One frame into `out` (rows, columns[, samples]); whether its samples are YBR_FULL. Raises Untrusted."""


# In order of preference. One that fails on a frame is not followed by the next: what two decoders disagree about is not
# to be trusted, and a file must decode alike on every run.
BACKENDS = cast("tuple[Backend, ...]", (rle, deflated, nvimgcodec, codecs, plugins))
UNREAD = {
    **{f"1.2.840.10008.1.2.4.{number}": "a retired JPEG process" for number in (52, 53, 54, 55, 56, *range(58, 67))},
    **{f"1.2.840.10008.1.2.4.{number}": "JPEG 2000 part 2" for number in (92, 93)},
    **{f"1.2.840.10008.1.2.4.{number}": "JPIP, whose pixels lie elsewhere" for number in (94, 95, 204, 205)},
    **{f"1.2.840.10008.1.2.4.{number}": "video" for number in range(100, 109)},
    **{f"1.2.840.10008.1.2.4.{number}.1": "video" for number in range(100, 109)},
    **{f"1.2.840.10008.1.2.4.{number}": "JPEG XL" for number in (110, 111, 112)},
    "1.2.840.10008.1.2.6.1": "RFC 2557 MIME",
}
"""Transfer syntaxes of the standard (PS3.6 annex A) that nothing here decodes."""


FREE_BYTES = 4096
"""Of headers and tables that a frame may have whatever it shows."""


def backend_for(syntax: str) -> Backend:
    """The first back end that is installed; Untrusted, naming what to install, where none is."""
    able = [backend for backend in BACKENDS if syntax in backend.SYNTAXES]
    for backend in able:
        if backend.is_available(syntax):
            return backend
    if able:
        packages = ", or ".join(backend.PACKAGE for backend in able if backend.PACKAGE)
        raise Untrusted(Reason.NO_DECODER, f"{able[0].SYNTAXES[syntax]} ({syntax}) needs {packages}.")
    if syntax in UNREAD:
        raise Untrusted(Reason.NO_DECODER, f"{syntax} is {UNREAD[syntax]}, which is not decoded here.")
    raise Untrusted(Reason.UNKNOWN_TRANSFER_SYNTAX, f"{syntax[:64]!r}.")


def decode(instance: Instance, out: NDArray[np.generic], workers: int = 1) -> None:
    """All frames into `out` `(frames, rows, columns[, samples])`, contiguous, of the dtype of the pixels."""
    header, span = instance.header, instance.pixels
    backend = backend_for(header.transfer_syntax)
    there = span.source.size - span.offset
    data = memoryview(span.source.span(span.offset, there if span.length is None else min(span.length, there)))
    frames = frames_of(data, header.frames, instance.attributes)

    def one(number: int) -> None:
        frame = b"".join([data[begin:end] for begin, end in frames[number]])
        is_ybr = backend.decode_frame(frame, header, out[number])
        _refuse_nothing(out[number], len(frame))
        if is_ybr:
            to_rgb(out[number])

    if workers == 1 or header.frames == 1:
        for number in range(header.frames):
            one(number)
        return
    with ThreadPoolExecutor(min(workers, header.frames)) as pool:
        for done in [pool.submit(one, number) for number in range(header.frames)]:
            done.result()


def _refuse_nothing(frame: NDArray[np.generic], length: int) -> None:
    """A decoder that fails in silence leaves zeros; a true frame of zeros has a bit a sample at most, whatever the codec."""
    suspicious = length > FREE_BYTES + frame.size * frame.itemsize // 6
    if suspicious and not frame[len(frame) // 2].any() and not frame.any():
        raise Untrusted(Reason.DECODE_FAILED, f"A frame of {length} compressed bytes decodes to nothing but zeros.")
