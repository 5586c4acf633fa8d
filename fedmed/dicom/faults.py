"""What pydicom and its codecs raise for a file that is not as the standard says; anything else is our own fault."""

from __future__ import annotations

import struct

from pydicom.errors import InvalidDicomError

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
    InvalidDicomError,
)
