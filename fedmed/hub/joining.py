"""A device joins its clinic's hub: its keys are made here, its certificate fetched with a code, all of it kept in a folder.

device.keys       the device's two secret keys, made here and never sent
device.crt        its certificate, renewed in place
devices-ca.crt    the one authority that is trusted: the clinic's, for its devices
hub.json          where the hub is, and what this device is called; written last, so that a folder with it is a joined one
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedmed import __version__
from fedmed.clock import Clock
from fedmed.errors import ConfigError, JoinRefused, ProtocolRefused, StoreError, Unreachable
from fedmed.hub.greeting import LASTS_S, ONLY, Talk, dialled, hexadecimal
from fedmed.hub.messages import text, whole
from fedmed.identity import files
from fedmed.identity.authority import read_certificate
from fedmed.identity.deviceca import check_hub
from fedmed.identity.devicecode import Code, invitation_of, proof_of, read_code
from fedmed.identity.issuing import MAX_BYTES, certificate_pem, public_of
from fedmed.identity.joined import JoinedFolder, put
from fedmed.identity.member import NAME, MemberKeys
from fedmed.identity.requests import certificate_request
from fedmed.wire.canonical import canonical
from fedmed.wire.skew import MOST_TEXT, refuse_far

KEYS_FILE, CERTIFICATE_FILE, AUTHORITY_FILE, HUB_FILE = "device.keys", "device.crt", "devices-ca.crt", "hub.json"
ENROLMENT_PORT = 8444
"""Where a hub's enrolment port is, where nobody said otherwise."""
_HOST = re.compile(r"[^\x00-\x1f]{1,128}")


@dataclass(frozen=True)
class Joined:
    """What hub.json says."""

    name: str
    """What this device is called."""
    clinic: str
    host: str
    port: int
    """Of the hub's service, not of its enrolment."""


@dataclass(frozen=True)
class DeviceFolder(JoinedFolder):
    """The folder of a device that has joined."""

    hub: Joined
    keys_file, certificate_file, authority_file, joined_with = KEYS_FILE, CERTIFICATE_FILE, AUTHORITY_FILE, "a new code"

    def keep(self, certificate: bytes) -> None:
        """Put a newer certificate (DER) in place of the old one, on the disk before this returns.

        Raises ProtocolRefused for one that is not this device's, StoreError.
        """
        member = read_certificate(certificate, public_of(self.authority()), self.clock.unix())
        if member.name != self.hub.name or member.fingerprint != self.keys().fingerprint:
            raise ProtocolRefused(f"a certificate of {member.name!r}, with other keys or another name than this device's")
        super().keep(certificate)


def open_device(path: Path, clock: Clock) -> DeviceFolder:
    """The folder of a device that has joined. Raises ConfigError where it is none, StoreError where it is damaged."""
    place = path / HUB_FILE
    if not place.is_file():
        raise ConfigError(
            f"{path} is no device's folder: it holds no {HUB_FILE}; make one: fedmed edge join CODE --hub HOST"
        )
    try:
        read = json.loads(files.read(place, MAX_BYTES))
        hub = Joined(
            text(read, "name", NAME), text(read, "clinic", NAME), text(read, "host", _HOST), whole(read, "port", 65535)
        )
    except (OSError, ValueError, AttributeError, ProtocolRefused) as error:
        raise StoreError(f"{place} cannot be read ({error}); put a copy back, or join anew with a new code") from error
    return DeviceFolder(path, clock, hub)


@dataclass(frozen=True)
class Greeted:
    """Whose hub answers at an enrolment port, as it says itself."""

    authority: bytes
    """The certificate (DER) of its authority."""
    shown: bytes
    """The certificate (DER) that it showed."""
    clinic: str
    version: str


def greeted(host: str, port: int, clock: Clock) -> Greeted:
    """Hear whose hub answers, and go: nothing is said of this device, and no code is used up.

    Raises ProtocolRefused where it is not the hub of the authority that it names, Unreachable.
    """
    with dialled(host, port) as line:
        talk, shown = Talk(line, clock.now), line.getpeercert(binary_form=True) or b""
        greeting = talk.hear()
        authority = hexadecimal(greeting, "authority")
        check_hub(shown, public_of(authority), clock.unix())
        talk.say({ONLY: "greeting"})
        return Greeted(authority, shown, text(greeting, "clinic", NAME), text(greeting, "version", most=MOST_TEXT))


def join(
    code: str,
    host: str,
    port: int,
    folder: Path,
    clock: Clock,
    tell: Callable[[str, float], None] = lambda what, most_s: None,
    before: DeviceFolder | None = None,
) -> Joined:
    """Enrol with a code at the hub whose enrolment port is `port` of `host`; all that is kept is on the disk then.

    A join that was cut off is asked again with the same code. `tell` hears what is waited for, and the seconds after which
    that is given up. `before`: what this device was, where it must be no other one, at no other clinic.

    Raises JoinRefused for a code that is none, that the hub does not take, or whose hub is another one; ConfigError where
    the folder has joined already, or the code is for another device than `before`; VersionRefused, Unreachable,
    KeyRefused, StoreError.
    """
    if (folder / HUB_FILE).exists():
        raise ConfigError(
            f"{folder} has joined a hub already; where that lets it in no more, join once more with a new code and --again:"
            " all that waits there stays; another device needs another folder (--at)"
        )
    read, keys = read_code(code), _own_keys(folder / KEYS_FILE)
    tell(f"looking for the hub at {host} port {port}", 2 * LASTS_S)  # until it is reached, and for its first words
    with dialled(host, port) as line:
        tell(f"the hub at {host} looks at the code", LASTS_S)
        talk, shown = Talk(line, clock.now), line.getpeercert(binary_form=True) or b""
        greeting = _greeting(talk, host, port)
        authority = _authority(read, greeting, shown, clock.unix())
        refuse_far(__version__, text(greeting, "version", most=MOST_TEXT), "the hub")
        _refuse_another_clinic(before, authority)
        talk.say({"invitation": invitation_of(read, authority), "version": __version__})
        name = text(talk.hear(), "name", NAME)
        _refuse_another_name(before, name)
        request = certificate_request(keys, name)
        _, proof = proof_of(read, authority, shown, name, request)
        talk.say({"proof": proof.hex(), "request": request.hex()})
        answer = talk.hear()
    hub = Joined(name, text(greeting, "clinic", NAME), host, whole(answer, "port", 65535))
    put(folder / AUTHORITY_FILE, certificate_pem(authority))
    DeviceFolder(folder, clock, hub).keep(hexadecimal(answer, "certificate"))
    put(folder / HUB_FILE, canonical(asdict(hub)) + b"\n")
    return hub


def _refuse_another_clinic(before: DeviceFolder | None, authority: bytes) -> None:
    """What waits in a folder is for one clinic alone."""
    if before is not None and before.authority() != authority:
        raise ConfigError(
            f"the code is of another authority than {before.hub.clinic}'s, for which all that waits in {before.path} is; it"
            " was told nothing: name another folder (--at) for it, and keep this one"
        )


def _refuse_another_name(before: DeviceFolder | None, name: str) -> None:
    """Results say which device made them, and the clinic knows its copies by it. The code is not used up."""
    if before is not None and before.hub.name != name:
        raise ConfigError(
            f"the code is for {name!r}, and {before.path} is the folder of {before.hub.name!r}; at the clinic: fedmed"
            f" clinic devices invite {before.hub.name}; or name another folder (--at)"
        )


def _greeting(talk: Talk, host: str, port: int) -> Mapping[str, Any]:
    """What a hub says first. Raises Unreachable where it says nothing, as whatever is no port for enrolment."""
    try:
        return talk.hear()
    except Unreachable as error:
        raise Unreachable(
            f"{host} port {port} greets no device ({error}); dial the hub's port for enrolment, {ENROLMENT_PORT} unless its"
            " hub.yaml names another"
        ) from error


def _authority(code: Code, greeting: Mapping[str, Any], shown: bytes, now_unix: float) -> bytes:
    """The authority's certificate, if the code is for it and the other side of the line is its hub. Nothing was sent yet."""
    authority = hexadecimal(greeting, "authority")
    if not code.fits(authority):
        raise JoinRefused(
            "the hub that answered is not the one that this code is for, and it was told nothing: dial the right address; "
            "where it is right, somebody stands between, so tell the clinic's staff"
        )
    try:
        check_hub(shown, public_of(authority), now_unix)
    except ProtocolRefused as error:
        raise JoinRefused(f"who answered shows the right authority, and is not its hub: {error}") from error
    return authority


def _own_keys(path: Path) -> MemberKeys:
    """The keys of a join that was cut off, or new ones."""
    if not path.exists():
        MemberKeys.generate().save(path)
    return MemberKeys.load(path)
