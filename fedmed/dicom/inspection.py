"""What one file is: an image that can be trusted, one that is set aside and why, or none."""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.dicom.instance import read_instance
from fedmed.dicom.limits import LIMITS, Limits
from fedmed.dicom.pixels import decode, pixel_sha256
from fedmed.dicom.reasons import SENTENCES, NoImage, Reason, Status, Untrusted
from fedmed.dicom.sources import Source

DIGITS = 16


@dataclass(frozen=True)
class FileRecord:
    """How one file ended; the line of `fedmed data scan --json` about it."""

    path: str
    """Below what was scanned, `archive.zip!member` inside archives."""
    status: Status
    reason: Reason | None = None
    detail: str = ""
    """What was found, for a human; no patient's name or identifier."""
    shape: tuple[int, ...] | None = None
    pixel_sha256: str = ""
    """First 16 hex digits of the SHA-256 over the decoded samples, see `pixels.pixel_sha256`."""

    def as_json(self) -> dict[str, object]:
        """Plain values; what does not apply is None."""
        return {
            "path": self.path,
            "status": self.status.value,
            "reason": self.reason.value if self.reason else None,
            "sentence": f"{SENTENCES[self.reason]} {self.detail}" if self.reason else self.detail or None,
            "shape": list(self.shape) if self.shape else None,
            "pixel_sha256": self.pixel_sha256 or None,
        }


def inspect_file(source: Source, limits: Limits = LIMITS, *, workers: int = 1) -> FileRecord:
    """Reads and decodes `source` here; raises nothing, whatever is in it."""
    try:
        instance = read_instance(source, limits)
        pixels = decode(instance, workers=workers)
    except Untrusted as error:
        return FileRecord(source.name, Status.QUARANTINED, error.reason, error.detail)
    except NoImage as error:
        return FileRecord(source.name, error.status, None, error.detail)
    except MemoryError:
        return FileRecord(source.name, Status.QUARANTINED, Reason.TOO_LARGE, "There is not enough memory to decode it.")
    return FileRecord(source.name, Status.OK, None, "", pixels.shape, pixel_sha256(instance, pixels)[:DIGITS])
