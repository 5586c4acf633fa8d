"""The folder of somebody who has joined: its own keys, its newest certificate, and the one authority that it trusts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedmed.clock import Clock
from fedmed.errors import ProtocolRefused, StoreError
from fedmed.identity import files
from fedmed.identity.authority import PublicMember, read_certificate
from fedmed.identity.issuing import MAX_BYTES, certificate_pem, der_of_pem, public_of
from fedmed.identity.member import MemberKeys


@dataclass(frozen=True)
class JoinedFolder:
    """What a clinic's folder and a device's have in common."""

    path: Path
    clock: Clock
    keys_file: ClassVar[str]
    certificate_file: ClassVar[str]
    authority_file: ClassVar[str]
    joined_with: ClassVar[str]
    """What one joins with, as in "a new code"."""

    def keys(self) -> MemberKeys:
        """Its own keys. Raises KeyRefused as `MemberKeys.load`."""
        return MemberKeys.load(self.path / self.keys_file)

    def certificate(self) -> bytes:
        """The newest certificate, DER. Raises StoreError where there is none to read."""
        return self._der(self.path / self.certificate_file)

    def authority(self) -> bytes:
        """The authority's certificate, DER. Raises StoreError where there is none to read."""
        return self._der(self.path / self.authority_file)

    def member(self, at_unix: float | None = None) -> PublicMember:
        """What the certificate says, read as at `at_unix`, now when absent. Raises ProtocolRefused where it is not valid."""
        at = self.clock.unix() if at_unix is None else at_unix
        return read_certificate(self.certificate(), public_of(self.authority()), at)

    def keep(self, certificate: bytes) -> None:
        """Put a newer certificate (DER) in place of the old one, on the disk before this returns. Raises StoreError."""
        put(self.path / self.certificate_file, certificate_pem(certificate))

    def _der(self, path: Path) -> bytes:
        try:
            return der_of_pem(files.read(path, 2 * MAX_BYTES, files.OTHERS_CHANGE))
        except (OSError, ProtocolRefused) as error:
            raise StoreError(
                f"{path} holds no certificate ({error}); put a copy back, or join anew with {self.joined_with}"
            ) from error


def put(path: Path, content: bytes) -> None:
    """Write a file of such a folder, whole, on the disk before this returns. Raises StoreError."""
    try:
        files.replace(path, content)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); make room, then try again") from error
