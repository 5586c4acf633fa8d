"""The center's folder: what `fedmed center init` makes, and what every other command of the center opens.

center.yaml        the configuration
superlink.db       what Flower's SuperLink knows: nodes, runs, messages
audit              the audit log, signed with the center's keys
runs               every run, a folder each
transport-ca.key   the transport authority's secret key, and .crt its certificate: whom it signs for may connect
center.keys        the center's own two keys: P-384 for its port, Ed25519 for join files
center.crt         the server's certificate, for the names in center.yaml
enrolment.json     who was invited, has asked, is a member, was revoked
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedmed.center.admission import Admissions
from fedmed.center.tls import Tls
from fedmed.clock import Clock
from fedmed.config.roles import CENTER_FILE, Center, load_role, written
from fedmed.errors import ConfigError, FedmedError, StoreError
from fedmed.identity import files
from fedmed.identity.authority import PublicMember, read_certificate
from fedmed.identity.enrolment import MEMBERS, Invite, Seat, words_for
from fedmed.identity.issuing import MAX_BYTES, MOST_DAYS, certificate_pem, der_of_pem
from fedmed.identity.joinfile import Join, new_join, write_join
from fedmed.identity.member import MemberKeys
from fedmed.identity.requests import read_request
from fedmed.identity.shown import shown
from fedmed.identity.transport import TransportAuthority
from fedmed.store.audit.event import event
from fedmed.store.audit.log import AuditLog
from fedmed.store.enrolments import Enrolments

KEYS_FILE, SERVER_FILE, ROLL_FILE, AUDIT = "center.keys", "center.crt", "enrolment.json", "audit"


@dataclass(frozen=True)
class CenterFolder:
    """An opened folder; its keys are read when they are needed."""

    path: Path
    config: Center
    clock: Clock
    enrolments: Enrolments

    def authority(self) -> TransportAuthority:
        """The transport's authority. Raises KeyRefused where its key is missing, or others can read it."""
        return TransportAuthority.load(self.path, self.clock)

    def keys(self) -> MemberKeys:
        """The center's own keys. Raises KeyRefused as `MemberKeys.load`."""
        return MemberKeys.load(self.path / KEYS_FILE)

    def admissions(self) -> Admissions:
        """Who is a member now. Raises KeyRefused as `authority`."""
        return Admissions(self.enrolments, self.authority().public, self.clock)

    def audit_log(self) -> AuditLog:
        """The center's audit log, begun where there is none. Raises KeyRefused, StoreError."""
        return AuditLog.make(self.path / AUDIT, self.config.federation, self.keys(), self.clock)

    @contextmanager
    def on_record(self, who: str, action: str, name: str, fingerprint: str | None = None) -> Iterator[None]:
        """What a person does here stands in the audit log before it is done, and that it was refused after.

        Raises StoreError, and then nothing is done.
        """
        log = self.audit_log()
        log.append(event(self.clock.unix(), who, "operator", action, name, fingerprint=fingerprint))
        try:
            yield
        except FedmedError as error:
            log.append(event(self.clock.unix(), who, "operator", action, name, "refused", reason=str(error)))
            raise

    def members(self) -> list[PublicMember]:
        """All that are members now, by name, each with a valid certificate. Raises KeyRefused, StoreError."""
        public, now = self.authority().public, self.clock.unix()
        seats = [seat for _, seat in sorted(self.enrolments.roll().seats.items()) if seat.stage in MEMBERS]
        return [read_certificate(seat.certificate, public, now) for seat in seats if seat.until >= now]

    def tls(self) -> Tls:
        """What the port shakes hands with."""
        return Tls(self.path / SERVER_FILE, self.path / KEYS_FILE, self.path / TransportAuthority.certificate_file)

    def renew_server(self) -> bool:
        """Make the server's certificate anew, for the same keys and the names in center.yaml, where a third is left of it.

        Whether it was made: it is on the disk then. Raises KeyRefused, StoreError.
        """
        path = self.path / SERVER_FILE
        known = shown(der_of_pem(files.read(path, 2 * MAX_BYTES, files.OTHERS_CHANGE)))
        if known.ends - self.clock.unix() > (known.ends - known.begins) / 3:
            return False
        try:
            files.replace(path, certificate_pem(_server(self.authority(), self.config, self.keys())))
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror}); make room, the old one is served on") from error
        return True

    def sign(self, request: bytes) -> tuple[bytes, int]:
        """A member's certificate for a request (both DER), and until when it is valid (seconds since 1970)."""
        authority = self.authority()
        certificate = authority.issue(read_request(request), self.config.certificate_days)
        return certificate, int(read_certificate(certificate, authority.public, self.clock.unix()).not_after)

    def invite(self, name: str, days: int) -> tuple[Join, bytes]:
        """A new invitation, on the roll before this returns, and its file's content.

        Raises ConfigError for the name or the days, JoinRefused where a member has the name.
        """
        at, keys = (self.config.federation, self.config.host, self.config.port), self.keys()
        join = new_join(self.authority(), keys, at, name, days, self.clock.unix())
        self.enrolments.apply(Invite(name, join.serial.hex(), join.expires))
        return join, write_join(join, keys)

    def words(self, seat: Seat) -> str:
        """The six words that the clinic of this seat must read out; empty where nobody has asked yet."""
        if not seat.fingerprint:
            return ""
        return words_for(seat.fingerprint, self.keys().signing_public, self.authority().public)


def make_center(path: Path, config: Center, clock: Clock) -> CenterFolder:
    """Make the folder of a new federation. Raises ConfigError where there is something in it, KeyRefused as `write_new`."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path} is not empty; name a new folder: a federation's keys are never written over")
    authority, keys = TransportAuthority.generate(clock, name=f"{config.federation} transport"), MemberKeys.generate()
    server = _server(authority, config, keys)
    authority.save(path)
    keys.save(path / KEYS_FILE)
    files.write_new(path / SERVER_FILE, certificate_pem(server))
    files.write_new(path / CENTER_FILE, written(config))
    made = open_center(path, clock)
    made.enrolments.create()
    return made


def open_center(path: Path, clock: Clock) -> CenterFolder:
    """The folder of a center. Raises ConfigError where it is none, with every fault of its configuration."""
    if not (path / CENTER_FILE).is_file():
        raise ConfigError(
            f"{path} is no center's folder: it holds no {CENTER_FILE}; name one with --at, or make one: fedmed center init"
        )
    return CenterFolder(path, load_role(path / CENTER_FILE, Center), clock, Enrolments(path / ROLL_FILE, clock))


def _server(authority: TransportAuthority, config: Center, keys: MemberKeys) -> bytes:
    return authority.server((config.host, *config.also), keys.transport_public, MOST_DAYS)
