"""What pydicom and codecs raise for a file that is not as the standard says; anything else is our own fault."""

from __future__ import annotations

import struct
import zlib

from pydicom.errors import BytesLengthException, InvalidDicomError

UNREADABLE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    BytesLengthException,
    InvalidDicomError,
)
