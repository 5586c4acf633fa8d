"""What a frame's codestream says of itself, read before a codec is let loose on it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fedmed.dicom.header import Header
from fedmed.dicom.reasons import Reason, Untrusted

MAX_SCANS = 1000
"""Of a progressive JPEG; each scan may cost as much time as the whole image."""
MAX_TILES = 65_535
SIZE_MARKER = b"\xff\x4f\xff\x51"
"""SOC and SIZ, with which a JPEG 2000 codestream begins (ISO/IEC 15444-1 annex A)."""
FRAME_MARKERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS (ISO/IEC 10918-1 table B.1, 14495-1)."""


@dataclass(frozen=True)
class Codestream:
    """Sizes and form of one compressed frame."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool | None = None
    """JPEG and JPEG-LS do not say."""
    ybr: bool | None = None
    """Whether markers say that the samples are YBR (JFIF, Adobe APP14) or RGB (component ids); None where none does."""

    def check(self, header: Header) -> None:
        """Untrusted unless it has the size of the header's frames and samples that fit into its words."""
        found = (self.rows, self.columns, self.samples)
        if found != (header.rows, header.columns, header.samples):
            raise Untrusted(
                Reason.DECODE_FAILED,
                f"A frame is compressed as rows, columns, samples {found}; its header says "
                f"{(header.rows, header.columns, header.samples)}.",
            )
        if not 1 <= self.precision <= max(header.bits_allocated, 8):
            raise Untrusted(
                Reason.DECODE_FAILED, f"A frame has {self.precision} bits a sample; {header.bits_allocated} are allocated."
            )


def _refuse_cut_off(data: bytes) -> None:
    """EOI of JPEG and JPEG-LS, EOC of JPEG 2000, then padding: libjpeg fills what is missing with grey, in silence."""
    if b"\xff\xd9" not in data[-16:]:
        raise Untrusted(Reason.TRUNCATED, "A compressed frame has no end marker (ffd9).")


def of_jpeg(data: bytes) -> Codestream:
    """Of JPEG or JPEG-LS: the frame header, and what comes before it."""
    if data[:2] != b"\xff\xd8":
        raise Untrusted(Reason.DECODE_FAILED, f"A JPEG frame begins with {data[:2].hex()} and not with ffd8.")
    _refuse_cut_off(data)
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise Untrusted(Reason.DECODE_FAILED, f"A JPEG frame has more than {MAX_SCANS} scans.")
    at, ybr = 2, None
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker in FRAME_MARKERS and len(body) >= 6:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", body)
            if bytes(body[6::3][:3]) in (b"RGB", b"rgb"):
                ybr = False
            return Codestream(rows, columns, samples, precision, ybr=ybr)
        if marker == 0xE0 and body.startswith(b"JFIF"):
            ybr = True
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            ybr = ybr or (True if body[11] else None)  # 0 says less than Photometric Interpretation does
        at += 2 + length
    raise Untrusted(Reason.DECODE_FAILED, "A JPEG frame has no frame header.")


def of_jpeg2000(data: bytes) -> tuple[Codestream, bytes]:
    """Of JPEG 2000, and the codestream without the JP2 boxes in which some writers leave it."""
    begin = data.find(SIZE_MARKER)
    if begin < 0 or len(data) < begin + 45:
        raise Untrusted(Reason.DECODE_FAILED, "A JPEG 2000 frame has no image size marker.")
    _refuse_cut_off(data)
    data = data[begin:] if begin else data
    width, height, left, top, tile_width, tile_height = struct.unpack_from(">6I", data, 8)
    (samples,) = struct.unpack_from(">H", data, 40)
    parts = data[42 : 42 + 3 * samples]
    if len(parts) < 3 * samples or not samples or len(set(parts[::3])) > 1 or set(parts[1::3]) | set(parts[2::3]) != {1}:
        raise Untrusted(Reason.DECODE_FAILED, "Components of a JPEG 2000 frame differ in size or precision.")
    if not tile_width or not tile_height or -(-width // tile_width) * -(-height // tile_height) > MAX_TILES:
        raise Untrusted(Reason.DECODE_FAILED, f"A JPEG 2000 frame has more than {MAX_TILES} tiles.")
    size = Codestream(height - top, width - left, samples, (parts[0] & 0x7F) + 1, signed=bool(parts[0] & 0x80))
    return size, data
