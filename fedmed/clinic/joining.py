"""`fedmed clinic join`: keys made here, one request, six words to compare, a certificate. Safe to stop and to run again."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmed.clinic.dialing import Line, proxy_for, shaking
from fedmed.clinic.folder import KEYS_FILE, PINS_FILE, ClinicFolder, make_clinic, open_clinic
from fedmed.clock import Clock
from fedmed.config.roles import CLINIC_FILE, Clinic
from fedmed.errors import ConfigError, JoinRefused, ProtocolRefused, Unreachable
from fedmed.identity.authority import PublicMember, day, read_certificate
from fedmed.identity.enrolment import words_for
from fedmed.identity.joinfile import Join, read_join
from fedmed.identity.member import MemberKeys
from fedmed.identity.pins import Pins
from fedmed.identity.requests import certificate_request

ENROL = "/fedmed/enrol"
FIRST_POLL_S, MOST_POLL_S = 1.0, 10.0


@dataclass(frozen=True)
class Waiting:
    """What a clinic can tell while its operator and the center's compare words."""

    name: str
    federation: str
    words: str
    """The six words to read to the center's operator."""
    left_s: float
    """Until the invitation ends."""
    trouble: str = ""
    """Why the center cannot be asked just now; empty where it answers."""


@dataclass(frozen=True)
class Joined:
    """A clinic that has its certificate."""

    folder: ClinicFolder
    member: PublicMember
    already: bool
    """It had joined before."""


Tell = Callable[[Waiting], None]


def join(content: bytes, path: Path, proxy: str | None, clock: Clock, tell: Tell, wait: bool = True) -> Joined | None:
    """Enrol with the join file's `content` into the folder `path`; `tell` hears how it stands before each pause.

    Without `wait`, None where the center's operator has not decided yet. Raises JoinRefused for a file that cannot be used
    and where the center refuses, Unreachable where it does not answer, ConfigError for a folder of another clinic or for one
    whose keys cannot be written.
    """
    now = clock.unix()
    if (there := _joined(path, content, clock, now)) is not None:
        return there
    join = read_join(content, now)
    keys = _own_keys(path)
    line, request = _line(path, join, proxy), certificate_request(keys, join.name)
    words = words_for(keys.fingerprint.hex(), join.center, join.authority_public)
    pause = FIRST_POLL_S
    while True:
        trouble = ""
        try:
            if (chain := _asked(line, request)) is not None:
                # The daemon starts where nobody has set https_proxy: what it was then is written down.
                return _kept(path, join, keys, chain, proxy or line.proxy, clock)
        except Unreachable as error:
            if not wait:
                raise
            trouble = str(error)
        left = join.expires - clock.unix()
        if left <= 0:
            raise JoinRefused(f"the invitation ended at {day(join.expires)} before the center admitted; ask for a new file")
        tell(Waiting(join.name, join.federation, words, left, trouble))
        if not wait:
            return None
        clock.sleep(min(pause, left))
        pause = min(2 * pause, MOST_POLL_S)


def _joined(path: Path, content: bytes, clock: Clock, now: float) -> Joined | None:
    """The clinic that this folder is already; None for a new folder, and for one whose certificate has run out."""
    if not (path / CLINIC_FILE).exists():
        return None
    folder = open_clinic(path, clock)
    try:
        return Joined(folder, folder.member(), already=True)
    except ProtocolRefused:
        join, config = read_join(content, now), folder.config
        if (config.federation, config.name, config.center) != (join.federation, join.name, join.center.hex()):
            raise ConfigError(
                f"{path} is the folder of {config.name!r} in {config.federation!r}, and the join file is for {join.name!r} "
                f"in {join.federation!r} or of another center; name another folder with --at"
            ) from None
        return None


def _own_keys(path: Path) -> MemberKeys:
    """The folder's keys, made now where there are none: every later try asks with the same."""
    place = path / KEYS_FILE
    if not place.exists():
        MemberKeys.generate().save(place)
    return MemberKeys.load(place)


def _line(path: Path, join: Join, proxy: str | None) -> Line:
    with tempfile.NamedTemporaryFile(dir=path, prefix=".ticket-") as file:  # OpenSSL takes a secret key from a file alone
        file.write(join.credential_pem())
        file.flush()
        context = shaking(join.authority, Path(file.name), Path(file.name))
    return Line(join.host, join.port, context, proxy_for(join.host, proxy))


def _asked(line: Line, request: bytes) -> list[Any] | None:
    """The certificates that the center answered with; None where it waits for its operator."""
    _, found = line.ask("POST", ENROL, request)
    if "waiting" in found:
        return None
    chain = found.get("chain")
    return chain if isinstance(chain, list) and chain else []


def _kept(path: Path, join: Join, keys: MemberKeys, chain: list[Any], proxy: str | None, clock: Clock) -> Joined:
    certificate = certificate_in(chain)
    member = own_certificate(certificate, join.authority_public, keys, join.name, clock.unix())
    config = Clinic(
        federation=join.federation,
        name=join.name,
        host=join.host,
        port=join.port,
        proxy=proxy,
        center=join.center.hex(),
    )
    # A clinic is in its own sums: the one pin that needs no telephone.
    Pins(path / PINS_FILE).add(member)
    return Joined(make_clinic(path, config, join.authority, certificate, clock), member, already=False)


def certificate_in(chain: object) -> bytes:
    """The first certificate (DER) of an answer's chain. Raises JoinRefused where there is none."""
    first = chain[0] if isinstance(chain, list) and chain else None
    try:
        return base64.b64decode(str(first), validate=True)
    except ValueError as error:
        raise JoinRefused("the center answered without a certificate; bring both sides to the same version") from error


def own_certificate(der: bytes, authority_public: bytes, keys: MemberKeys, name: str, now: float) -> PublicMember:
    """What a certificate says, if it is valid for these keys and this name. Raises JoinRefused where it is not."""
    try:
        member = read_certificate(der, authority_public, now)
    except ProtocolRefused as error:
        raise JoinRefused(f"the center answered with a certificate that cannot be used: {error}") from error
    if (member.fingerprint, member.name) != (keys.fingerprint, name):
        raise JoinRefused(f"the center answered with a certificate for {member.name!r} or for other keys; telephone it")
    return member
