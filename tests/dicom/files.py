"""DICOM files made for tests: by pydicom, a peer that is not ours, and by hand where pydicom would not write them."""

from __future__ import annotations

import io
import struct

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian

from fedmed.dicom.instance import Instance, read_instance
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.sources import of_bytes

UNDEFINED = 0xFFFFFFFF


def dataset(stored: np.ndarray, bits_stored: int | None = None, photometric: str = "MONOCHROME2", **attributes) -> Dataset:
    """An image of `stored` (rows, columns) or, with `samples=3` or `frames=n` among the attributes, more axes."""
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = CTImageStorage, "1.2.3"
    found.StudyInstanceUID, found.SeriesInstanceUID, found.Modality = "1.2", "1.2.1", "CT"
    samples, frames = attributes.pop("samples", 1), attributes.pop("frames", 1)
    shape = stored.shape[1:] if frames > 1 else stored.shape
    found.Rows, found.Columns = shape[-3:-1] if samples == 3 else shape[-2:]
    if frames > 1:
        found.NumberOfFrames = frames
    found.SamplesPerPixel, found.PhotometricInterpretation = samples, photometric
    if samples == 3:
        found.PlanarConfiguration = 0
    found.BitsAllocated = stored.dtype.itemsize * 8
    found.BitsStored = bits_stored or found.BitsAllocated
    found.HighBit = found.BitsStored - 1
    found.PixelRepresentation = int(stored.dtype.kind == "i")
    found.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    for keyword, value in attributes.items():
        setattr(found, keyword, value)
    found["PixelData"].VR = "OW" if found.BitsAllocated > 8 else "OB"
    return found


def encoded(found: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The file, with preamble and file meta information; for big endian the pixels are swapped first."""
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = syntax
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    if syntax == ExplicitVRBigEndian:
        words = np.frombuffer(found.PixelData, f"<u{found.BitsAllocated // 8}")
        found.PixelData = words.astype(words.dtype.newbyteorder(">")).tobytes()
    file = io.BytesIO()
    found.save_as(file, enforce_file_format=True)
    return file.getvalue()


def compressed(found: Dataset, frames: list[bytes], syntax: str, *, table: bool = True) -> bytes:
    """The file with `frames` as its fragments."""
    found.PixelData = encapsulate(frames, has_bot=table)
    found["PixelData"].VR = "OB"
    found["PixelData"].is_undefined_length = True
    return encoded(found, syntax)


def opened(data: bytes, limits: Limits = LIMITS) -> Instance:
    """What is read of a file in memory."""
    return read_instance(of_bytes("test.dcm", data), limits)


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """One explicit little endian element; `length` may lie."""
    length = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    wide = vr in ("OB", "OW", "SQ", "UN", "UT", "OV")
    return head + (struct.pack("<HI", 0, length) if wide else struct.pack("<H", length)) + value


def item(value: bytes, length: int | None = None) -> bytes:
    """One item of a sequence; with UNDEFINED, closed by its delimiter."""
    length = len(value) if length is None else length
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" if length == UNDEFINED else b""
    return struct.pack("<HHI", 0xFFFE, 0xE000, length) + value + closing


def by_hand(*elements: bytes, syntax: bytes = b"1.2.840.10008.1.2.1\0") -> bytes:
    """Preamble, a transfer syntax, and what follows as it is given."""
    return bytes(128) + b"DICM" + element(0x00020010, "UI", syntax) + b"".join(elements)
