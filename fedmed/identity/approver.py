"""Who may approve runs at a clinic: people with keys that the daemon cannot use, and the list of their public halves.

An approver's key is a file encrypted with a passphrase, outside the clinic's folder. The first approver is whoever sets the
clinic up; every further one is vouched for by one before, so that who can write the list, but holds no key and passphrase
of an approver, cannot put himself on it beside the others. The list as a whole is guarded by its file: give it an owner
that the daemon does not run as.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedmed.errors import ConfigError
from fedmed.identity import files
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import NAME, SIGNING_KEY, check_name, joined, verify
from fedmed.wire.canonical import canonical, digest

FILE = "approvers.json"
MOST_APPROVERS, MAX_BYTES = 64, 1 << 16
LEAST_PASSPHRASE = 12
"""Letters; the file may be stolen and tried at leisure."""
_KIND, _VERSION = "fedmed-approvers", 1


@dataclass(frozen=True)
class ApproverKey:
    """An approver's secret key, while it is used."""

    key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> ApproverKey:
        """A new key, which is nowhere but in memory."""
        return cls(Ed25519PrivateKey.generate())

    def save(self, path: Path, passphrase: str) -> None:
        """Write it into a new file (PKCS#8, PEM, encrypted). Raises ConfigError for a short passphrase, KeyRefused."""
        require_passphrase(passphrase)
        how = serialization.BestAvailableEncryption(passphrase.encode())
        content = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
        files.write_new(path, content)

    @classmethod
    def load(cls, path: Path, passphrase: str) -> ApproverKey:
        """The key in a file. Raises KeyRefused for a wrong passphrase, and for a file with none or that others read."""
        try:
            content = files.read(path, MAX_BYTES)
        except OSError as error:
            raise KeyRefused(
                f"{path}: no approver's key can be read there ({error.strerror}); name it with --key"
            ) from error
        try:
            found = serialization.load_pem_private_key(content, passphrase.encode())
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyRefused(f"{path}: the passphrase is not this key's, or this is no approver's key") from error
        if not isinstance(found, Ed25519PrivateKey):
            raise KeyRefused(f"{path}: holds another kind of key than an approver's (Ed25519)")
        return cls(found)

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return self.key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes."""
        return self.key.sign(message)


def require_passphrase(passphrase: str) -> None:
    """Raise ConfigError for one that is soon guessed."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise ConfigError(f"a passphrase of {len(passphrase)} letters; use {LEAST_PASSPHRASE} or more, such as four words")


@dataclass(frozen=True)
class Approver:
    """One line of the list."""

    name: str
    public: bytes
    by: str = ""
    """The approver who vouched for this one; empty for the first."""
    signature: bytes = b""

    def statement(self) -> bytes:
        """What is signed by whoever vouches."""
        return joined(b"fedmed/approver/1", self.name.encode(), self.public, self.by.encode())


class Approvers(Mapping[str, bytes]):
    """Name -> Ed25519 public key, kept in one file of canonical JSON."""

    def __init__(self, path: Path) -> None:
        """Read the file; where there is none, nobody may approve. Raises KeyRefused for one that fedmed did not write."""
        self.path = path
        self._list = _read(path)

    def __getitem__(self, name: str) -> bytes:
        return {each.name: each.public for each in self._list}[name]

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in self._list)

    def __len__(self) -> int:
        return len(self._list)

    def add(self, name: str, public: bytes, by: str = "", voucher: ApproverKey | None = None) -> None:
        """Put an approver on the list, on the disk before this returns.

        Raises ConfigError for a name that is taken or cannot be, KeyRefused where nobody on the list vouches.
        """
        check_name(name, "an approver")
        known = _read(self.path)
        if name in {each.name for each in known} or public in {each.public for each in known}:
            raise ConfigError(f"{name!r} or its key is on the list of approvers already; choose another name")
        if len(known) >= MOST_APPROVERS:
            raise ConfigError(f"{self.path}: {MOST_APPROVERS} approvers are listed, which is all that there may be")
        new = Approver(name, public, by if known else "")
        if known:
            if voucher is None or voucher.public not in {each.public for each in known if each.name == by}:
                raise KeyRefused(
                    f"an approver vouches for each further one: name one of {', '.join(each.name for each in known)} with "
                    "--by, and that approver's key"
                )
            new = Approver(name, public, by, voucher.sign(new.statement()))
        try:
            files.replace(self.path, _encoded((*known, new)))
        except OSError as error:
            raise KeyRefused(
                f"{self.path}: the approvers cannot be written ({error.strerror}); those before stay"
            ) from error
        self._list = (*known, new)


def _encoded(known: tuple[Approver, ...]) -> bytes:
    rows = [
        {"name": each.name, "public": each.public.hex(), "by": each.by, "signature": each.signature.hex()} for each in known
    ]
    body = {"kind": _KIND, "version": _VERSION, "approvers": rows}
    return canonical({"approvers": body, "sha256": digest(body)}) + b"\n"


def _read(path: Path) -> tuple[Approver, ...]:
    try:
        content = files.read(path, MAX_BYTES, files.OTHERS_CHANGE)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeyRefused(f"{path}: the approvers cannot be read ({error.strerror})") from error
    try:
        said: dict[str, Any] = json.loads(content)
        known = tuple(
            Approver(str(row["name"]), bytes.fromhex(row["public"]), str(row["by"]), bytes.fromhex(row["signature"]))
            for row in said["approvers"]["approvers"]
        )
        whole = _encoded(known) == content
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise KeyRefused(f"{path} cannot be read ({type(error).__name__}); put a copy of it back") from error
    if not whole or len({each.name for each in known}) != len(known):
        raise KeyRefused(f"{path} was not written by fedmed, or was changed by hand; put a copy of it back")
    _check_chain(path, known)
    return known


def _check_chain(path: Path, known: tuple[Approver, ...]) -> None:
    before: dict[str, bytes] = {}
    for place, each in enumerate(known):
        sound = NAME.fullmatch(each.name) is not None and len(each.public) == SIGNING_KEY
        vouched = not each.by if place == 0 else verify(before.get(each.by, b""), each.signature, each.statement())
        if not sound or not vouched:
            raise KeyRefused(
                f"{path}: nobody on the list vouched for {each.name[:64]!r}; the file was changed, put a copy back"
            )
        before[each.name] = each.public
