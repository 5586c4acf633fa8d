"""TensorRT's plans on a device's disk: building one takes minutes, and it runs on one version and one card only.

A plan is found by what it was built from and for. The file begins with the SHA-256 of that and of the plan: rot, half a
file or a plan under another's name is found before TensorRT reads it, which checks little. Whoever can write there can write
digests as well, so the folder is its owner's alone.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fedmed.store.disk import Disk, replace_file

SEAL_BYTES = 32
MAX_BYTES = 4 << 30


@dataclass(frozen=True)
class PlanKey:
    """What a plan was built from and for."""

    model_sha256: str
    """Of the ONNX file, as on the package's card."""
    version: str
    """Of TensorRT."""
    architecture: str
    """Of the card, as `sm87`."""
    precision: str
    batch: int
    """The largest that it takes."""

    @property
    def name(self) -> str:
        """Of the file."""
        return f"{self.model_sha256}-{self.version}-{self.architecture}-{self.precision}-{self.batch}.plan"


@dataclass(frozen=True)
class Plans:
    """The plans in a folder."""

    folder: Path

    def get(self, key: PlanKey) -> bytes | None:
        """The plan, or None where there is none or it is damaged; a damaged one is removed."""
        path = self.folder / key.name
        try:
            if path.stat().st_size > MAX_BYTES:
                return None
            content = path.read_bytes()
        except OSError:
            return None
        if content[:SEAL_BYTES] == _seal(key, content[SEAL_BYTES:]):
            return content[SEAL_BYTES:]
        with suppress(OSError):
            path.unlink()
        return None

    def put(self, key: PlanKey, plan: bytes) -> None:
        """Keep a plan. Raises OSError."""
        disk = Disk()
        disk.make_folder(self.folder)
        replace_file(disk, self.folder / key.name, _seal(key, plan) + plan)

    def spare(self, kept: set[str]) -> list[Path]:
        """The plans of models whose SHA-256 is not among `kept`."""
        return [path for path in sorted(self.folder.glob("*.plan")) if path.name.split("-", 1)[0] not in kept]


def _seal(key: PlanKey, plan: bytes) -> bytes:
    return hashlib.sha256(key.name.encode() + b"\0" + plan).digest()
