"""The members that a clinic has approved itself, each after its six words were compared by telephone.

A roster is accepted by these pins and by nothing else. A certificate alone admits nobody: with the authority's key a center
could add members of its own until all but one update in a sum are known to it (a Sybil attack), and take that one off.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from fedmed.errors import StoreError
from fedmed.identity import files
from fedmed.identity.files import KeyRefused
from fedmed.identity.member import NAME, SIGNING_KEY, Identity, is_p384
from fedmed.wire.canonical import canonical, digest

WORDS, BITS = 6, 11
"""Six words of 2,048: the first 66 bits of the fingerprint. Finding keys with another member's words takes 2^66 trials."""
MOST_MEMBERS = 1024
MAX_BYTES = 1 << 20
_KIND, _VERSION = "fedmed-pins", 1


class PinRefused(StoreError):
    """A pin cannot be set or taken away, or the file of pins is not what was written."""


class Pins(Mapping[bytes, Identity]):
    """Fingerprint -> member, of the members that this clinic approved; kept in one file of canonical JSON."""

    def __init__(self, path: Path) -> None:
        """Read the file; where there is none, nobody is pinned. Raises PinRefused, KeyRefused where others can write it."""
        self.path = path
        self._members = _read(path)

    def __getitem__(self, fingerprint: bytes) -> Identity:
        return self._members[fingerprint]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def signing_keys(self) -> dict[bytes, bytes]:
        """Fingerprint -> Ed25519 public key."""
        return {fingerprint: member.signing_public for fingerprint, member in self._members.items()}

    def add(self, member: Identity) -> None:
        """Pin a member, on the disk before this returns; adding the same one again changes nothing.

        Raises PinRefused where another member has the name, or where the file cannot be written.
        """
        members = _read(self.path)
        _check(member)
        known = members.get(member.fingerprint)
        if known is None and member.name in {each.name for each in members.values()}:
            raise PinRefused(
                f"another member called {member.name!r} is pinned, with other keys; if it has new ones, compare its words "
                "by telephone and remove the old pin first"
            )
        if known is not None and known.name != member.name:
            raise PinRefused(f"these keys are pinned as those of {known.name!r}, not of {member.name!r}")
        if len(members) == MOST_MEMBERS and known is None:
            raise PinRefused(f"{self.path}: {MOST_MEMBERS} members are pinned, which is all that there may be")
        self._write({**members, member.fingerprint: Identity(member.name, member.transport_public, member.signing_public)})

    def remove(self, fingerprint: bytes) -> None:
        """Take a member's pin away, on the disk before this returns. Raises PinRefused where it has none."""
        members = _read(self.path)
        if fingerprint not in members:
            raise PinRefused(f"no member with the fingerprint {fingerprint.hex()[:16]} is pinned in {self.path}")
        self._write({each: member for each, member in members.items() if each != fingerprint})

    def _write(self, members: dict[bytes, Identity]) -> None:
        try:
            files.replace(self.path, _encoded(members))
        except OSError as error:
            raise PinRefused(f"{self.path}: the pins cannot be written ({error.strerror}); those before stay") from error
        self._members = members


def words(fingerprint: bytes) -> str:
    """Six English words that stand for a fingerprint's first 66 bits, to compare by telephone."""
    number = int.from_bytes(fingerprint[:9], "big") >> (72 - WORDS * BITS)
    places = (number >> (BITS * (WORDS - 1 - place)) & (1 << BITS) - 1 for place in range(WORDS))
    return " ".join(word_list()[place] for place in places)


@lru_cache(maxsize=1)
def word_list() -> tuple[str, ...]:
    """The 2,048 words, in order."""
    text = resources.files("fedmed.identity").joinpath("words.txt").read_text(encoding="ascii")
    return tuple(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def _encoded(members: Mapping[bytes, Identity]) -> bytes:
    rows = [
        {
            "fingerprint": fingerprint.hex(),
            "name": member.name,
            "signing": member.signing_public.hex(),
            "transport": member.transport_public.hex(),
        }
        for fingerprint, member in sorted(members.items())
    ]
    body = {"kind": _KIND, "members": rows, "version": _VERSION}
    return canonical({"pins": body, "sha256": digest(body)}) + b"\n"


def _read(path: Path) -> dict[bytes, Identity]:
    try:
        content = files.read(path, MAX_BYTES + 1, files.OTHERS_CHANGE)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KeyRefused(f"{path}: the pins cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise PinRefused(f"{path} has more than {MAX_BYTES} bytes; it is no file of pins")
    try:
        read: dict[str, Any] = json.loads(content)
        members = {
            bytes.fromhex(row["fingerprint"]): Identity(
                str(row["name"]), bytes.fromhex(row["transport"]), bytes.fromhex(row["signing"])
            )
            for row in read["pins"]["members"]
        }
        whole = _encoded(members) == content and len(members) <= MOST_MEMBERS
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PinRefused(f"{path} cannot be read ({type(error).__name__}); put a copy of it back") from error
    if not whole:
        raise PinRefused(
            f"{path} was not written by fedmed, or was changed by hand; pin the members anew, or put a copy back"
        )
    for fingerprint, member in members.items():
        _check(member)
        if member.fingerprint != fingerprint:
            raise PinRefused(
                f"{path}: the keys of {member.name!r} do not have the fingerprint beside them; they were changed"
            )
    if len({member.name for member in members.values()}) != len(members):
        raise PinRefused(f"{path}: two members have one name; put a copy of the file back")
    return members


def _check(member: Identity) -> None:
    try:
        sound = is_p384(serialization.load_der_public_key(member.transport_public))
    except (ValueError, UnsupportedAlgorithm):
        sound = False
    if not sound or len(member.signing_public) != SIGNING_KEY or not NAME.fullmatch(member.name):
        raise PinRefused(f"{member.name[:64]!r} cannot be pinned: its name or one of its keys is not what a member has")
