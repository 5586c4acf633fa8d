"""All checks in their order, each a probe and its judge."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedmed.clinic.dialing import proxy_for
from fedmed.clinic.doctor import estimate, kernels, load, strength, traffic
from fedmed.clinic.doctor.settings import Given, read_settings
from fedmed.clock import Clock
from fedmed.errors import ConfigError
from fedmed.operation.doctor import connecting, disk, machine, shaking, trust, way
from fedmed.operation.doctor.finding import Finding, fail, skipped
from fedmed.operation.doctor.peer import Settings
from fedmed.operation.doctor.running import Check, Seen
from fedmed.wire.visible import visible

JOIN_FIRST = "the center answers members alone: join first, or give --certificate and --key"


@dataclass(frozen=True)
class Asked:
    """What is to be examined."""

    given: Given
    parameters: int
    lanes: int
    """Bits, 16 or 32."""


def checks(asked: Asked, clock: Clock) -> tuple[Check, ...]:
    """All of them; the order is that in which faults are best mended."""
    folder, parameters = asked.given.folder, asked.parameters
    network, machines = _Network(asked.given, clock), _Machine(folder, parameters, clock)
    return (
        Check("configuration", network.configuration, 5),
        Check("name", network.name, 10, ("configuration",)),
        Check("connection", network.connection, 15, ("name",)),
        Check("tls", network.tls, 30, ("connection",)),
        Check("authority", lambda seen: trust.authority(seen["tls"]), 1, ("tls",)),
        Check("certificate", network.certificate, 15, ("authority",)),
        Check("answer", network.answer, 30, ("certificate",)),
        Check("clock", network.clock, 1, ("certificate",)),
        Check("packets", network.packets, 60, ("answer",)),
        Check("speed", network.speed, 60, ("packets",)),
        Check("room", lambda _: strength.room(machine.room(folder), parameters), 10),
        Check("writing", machines.writing, 20, ("room",)),
        Check("memory", lambda _: strength.memory(machine.memory(), parameters), 5),
        Check("descriptors", lambda _: strength.descriptors(machine.descriptors()), 1),
        Check("confinement", lambda _: strength.confinement(machine.confinement()), 40),
        *(Check(each, machines.kernel(each), kernels.RUN_S + 5) for each in kernels.WHERE),
        Check("round", lambda seen: _round(seen, asked), 1, ("speed", "writing")),
    )


class _Network:
    """Probes that know where the center is once the configuration was read."""

    def __init__(self, given: Given, clock: Clock) -> None:
        self._given, self._clock = given, clock

    def configuration(self, seen: Seen) -> Finding:
        found, settings = read_settings(self._given, lambda host: proxy_for(host, None))
        if settings is None:
            return found
        try:
            shaken = shaking.context(settings)
        except ConfigError as error:
            return fail("configuration", visible(str(error)), "files in PEM that go together", "put copies of them back")
        seen["settings"], seen["context"] = settings, shaken
        return found

    def name(self, seen: Seen) -> Finding:
        return way.name(connecting.look_up(seen["settings"]))

    def connection(self, seen: Seen) -> Finding:
        try:
            made, found = connecting.dial(seen["settings"], self._clock.now)
        except connecting.NotConnected as error:
            return way.connection(error.dialled, proxy_for(seen["settings"].host, None) is not None)
        made.close()
        return way.connection(found)

    def tls(self, seen: Seen) -> Finding:
        settings = seen["settings"]
        seen["tls"] = shaking.shake(settings, seen["context"], self._opener(settings))
        return trust.tls(seen["tls"])

    def _opener(self, settings: Settings) -> Callable[[], socket.socket]:
        return lambda: connecting.dial(settings, self._clock.now)[0]

    def certificate(self, seen: Seen) -> Finding:
        found, settings, now = seen["tls"], seen["settings"], self._clock.unix()
        if not trust.is_dated(found, now) or settings.certificate is None:
            return trust.certificate(found, now)
        answer = self._line(settings, shaking.context(settings, is_timeless=True)).fetch(0)
        return trust.certificate(found, now, answer.ahead_s)

    def _line(self, settings: Settings, shaken: ssl.SSLContext) -> traffic.Line:
        return traffic.Line(self._opener(settings), shaken, settings.host, self._clock.now, self._clock.unix)

    def answer(self, seen: Seen) -> Finding:
        settings = seen["settings"]
        if settings.certificate is None:
            return skipped("answer", JOIN_FIRST)
        line = self._line(settings, seen["context"])
        seen["line"], found = line, line.fetch(0)
        seen["answer"] = found
        return load.answer(found)

    def clock(self, seen: Seen) -> Finding:
        found = seen.get("answer")
        return trust.clock(None if found is None else found.ahead_s, seen["tls"].shown, self._clock.unix())

    def packets(self, seen: Seen) -> Finding:
        seen["packets"] = traffic.ladder(seen["line"])
        return load.packets(seen["packets"], seen["line"].mtu)

    def speed(self, seen: Seen) -> Finding:
        largest = seen["packets"][-1]
        seen["speed"] = traffic.speed(seen["line"], largest.size / max(largest.seconds, 1e-6))
        return load.speed(seen["speed"])


class _Machine:
    def __init__(self, folder: Path, parameters: int, clock: Clock) -> None:
        self._folder, self._parameters, self._clock = folder, parameters, clock

    def writing(self, seen: Seen) -> Finding:
        seen["writing"] = machine.write(self._folder, self._clock.now)
        return disk.writing(seen["writing"])

    def kernel(self, name: str) -> Callable[[Seen], Finding]:
        def found(_: Seen) -> Finding:
            ran = kernels.run(name)
            return strength.vector_aes(ran) if name == "vector AES" else strength.kernel(name, ran, kernels.has_card())

        return found


def _round(seen: Seen, asked: Asked) -> Finding:
    if isinstance(seen["speed"], str):
        return skipped("round", "the speed of the line was not measured")
    seen["round"] = estimate.terms(asked.parameters, asked.lanes, seen["speed"], seen["writing"])
    return estimate.round_time(seen["round"], asked.parameters)
