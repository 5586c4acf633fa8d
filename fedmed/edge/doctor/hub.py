"""Checks of the line to the hub: before joining its port for enrolment, after it the one for devices."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

from fedmed.clock import Clock
from fedmed.edge.doctor.configuration import Subject, files_of
from fedmed.errors import ConfigError, DeviceRefused, FedmedError, ProtocolRefused, Unreachable, VersionRefused
from fedmed.hub.joining import greeted
from fedmed.hub.messages import MOST_BODY
from fedmed.identity.authority import day
from fedmed.identity.deviceca import HUB as NAMED
from fedmed.identity.devicecode import letters_of
from fedmed.identity.shown import shown
from fedmed.operation.doctor import connecting, shaking, trust, way
from fedmed.operation.doctor.finding import Finding, fail, ok, skipped, warn
from fedmed.operation.doctor.peer import HUB, Settings
from fedmed.operation.doctor.running import Seen
from fedmed.operation.doctor.shaking import Handshake
from fedmed.operation.doctor.speed import Speed, judged
from fedmed.wire.visible import visible

LEAST, GOAL_S, PINGS = 64 << 10, 1.5, 3
"""Bytes of a first measurement, seconds that one way is meant to take, and small questions."""
Took = Callable[[int], float]
"""Bytes to the seconds that they took."""
JOIN_FIRST = "the hub answers its own devices alone: join first"


def settings_of(subject: Subject) -> Settings:
    """How the hub is reached. A device dials through no proxy."""
    files = files_of(subject.folder)
    known = Settings(subject.host, subject.port, None, files["ca"], None, None, other=HUB, named=NAMED)
    if subject.joined is None:
        return known
    return replace(known, certificate=files["certificate"], key=files["key"], protocols=("h2",))


class Line:
    """Probes that know which hub it is once the configuration was read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def name(self, seen: Seen) -> Finding:
        """Whether the hub's name is known here."""
        seen["settings"] = settings_of(seen["subject"])
        return way.name(connecting.look_up(seen["settings"]), HUB)

    def connection(self, seen: Seen) -> Finding:
        """Whether its port takes a connection."""
        try:
            made, found = connecting.dial(seen["settings"], self._clock.now)
        except connecting.NotConnected as error:
            return way.connection(error.dialled, other=HUB)
        made.close()
        return way.connection(found, other=HUB)

    def tls(self, seen: Seen) -> Finding:
        """Whether it speaks TLS 1.3."""
        settings, opened = seen["settings"], lambda: self._opened(seen["settings"])
        if settings.certificate is None and (heard := self._heard(seen)) is not None:
            seen["tls"] = heard
            return trust.tls(heard, HUB)
        try:
            strict = shaking.believing() if settings.certificate is None else shaking.context(settings)
        except ConfigError as error:
            return fail("tls", visible(str(error)), "files that go together", "put copies of them back, or join anew")
        seen["tls"] = shaking.shake(settings, strict, opened)
        return trust.tls(seen["tls"], HUB)

    def _heard(self, seen: Seen) -> Handshake | None:
        """The handshake of a hub that said whose it is; None where nobody did: then it is to be seen what answers there."""
        subject: Subject = seen["subject"]
        try:
            seen["greeted"] = greeted(subject.host, subject.port, self._clock)
            return Handshake("TLSv1.3", shown(seen["greeted"].shown))
        except (ProtocolRefused, Unreachable) as error:
            seen["unheard"] = str(error)
            return None

    def _opened(self, settings: Settings) -> socket.socket:
        return connecting.dial(settings, self._clock.now)[0]

    def authority(self, seen: Seen) -> Finding:
        """Whether it is the hub that this device joined, or that its code is for."""
        subject: Subject = seen["subject"]
        if subject.joined is not None:
            return trust.authority(seen["tls"], HUB)
        if "greeted" not in seen:
            todo = f"compare host and port with the hub's: it enrols devices at one port ({subject.port} was dialled)"
            return fail("authority", visible(seen["unheard"]), "a hub's greeting", todo)
        found = seen["greeted"]
        whose, letters = f"the hub of {found.clinic}, version {visible(found.version)}", letters_of(found.authority)
        if subject.code is None:
            todo = f"give --code CODE, or see that {letters} are the 17th to 32nd letter of the code"
            return warn("authority", f"{whose}; its codes read ....-{letters}-.", "the hub that the code is for", todo)
        if subject.code.fits(found.authority):
            return ok("authority", f"{whose}; the code is for it")
        todo = "dial the right hub; where it is right, somebody stands between: tell the clinic's staff, and do not join"
        return fail("authority", f"{whose}; the code is for another", "the hub that the code is for", todo)

    def certificate(self, seen: Seen) -> Finding:
        """Its dates."""
        return trust.certificate(seen["tls"], self._clock.unix(), other=HUB)

    def answer(self, seen: Seen) -> Finding:
        """Whether the hub knows this device."""
        from fedmed.hub.client import HubClient

        joined = seen["subject"].joined
        if joined is None:
            return skipped("answer", JOIN_FIRST)
        allowed = "an answer to this device"
        try:
            with HubClient(joined.device) as client:
                seen["answer"] = client.probe()
                until = day(joined.device.member().not_after)
        except DeviceRefused as error:
            return fail("answer", visible(str(error)), allowed, "have the clinic's staff invite it anew, and join again")
        except VersionRefused as error:
            return fail("answer", visible(str(error)), allowed, "bring device and hub to one version")
        except ProtocolRefused as error:
            if "does not know this call" in str(error):
                return warn("answer", "a hub that is older than this agent", allowed, "update the hub; nothing is measured")
            return fail("answer", visible(str(error)), allowed, "see the hub's own log")
        except FedmedError as error:
            todo = "TLS came through and the answer did not: another authority's certificate, or a firewall that ends calls"
            return fail("answer", visible(str(error)), allowed, todo)
        return ok("answer", f"the hub, version {seen['answer'].hub_version}, knows this device; certificate until {until}")

    def clock(self, seen: Seen) -> Finding:
        """This machine's clock against the hub's."""
        found = seen.get("answer")
        return trust.clock(None if found is None else found.skew_s, seen["tls"].shown, self._clock.unix(), HUB)

    def speed(self, seen: Seen) -> Finding:
        """Round trip, and what the line bears both ways; some megabytes at most."""
        again = "run it again; where it stays so, see the hub's own log"
        if seen.get("answer") is None:
            return judged("the hub is too old to be asked", again, "")
        return judged(self._measured(seen["subject"]), again, "studies will wait for this line: see `line` in edge.yaml")

    def _measured(self, subject: Subject) -> Speed | str:
        from fedmed.hub.client import HubClient

        assert subject.joined is not None
        try:
            with HubClient(subject.joined.device) as client:
                client.probe()  # the connection is made with the first call
                trip = min(client.probe().seconds for _ in range(PINGS))
                down = self._rate(lambda size: client.probe(down=size).seconds, trip)
                up = self._rate(lambda size: client.probe(up=size).seconds, trip)
        except FedmedError as error:
            return str(error)
        return Speed(down, up, trip)

    def _rate(self, took: Took, trip_s: float) -> float:
        """Bytes a second one way: a first guess, then as much as takes some time, in calls of a megabyte."""
        size = LEAST
        seconds = took(size)
        ends = self._clock.now() + GOAL_S
        while self._clock.now() < ends and size < MOST_BODY:
            size = min(MOST_BODY, 4 * size)
            seconds = took(size)
        return size / max(seconds - trip_s, 1e-4)
