"""Probes of what the line carries: requests to the center's measuring path, as the clinic's member."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime

from fedmed.operation.doctor.connecting import NotConnected, path_mtu
from fedmed.operation.doctor.speed import Speed

PATH = "/fedmed/probe"
"""As in fedmed.center.echo."""
STALL_S = 8.0
"""Without one more octet going through for so long a line counts as stalled."""
LADDER = (200, 64 * 10**3, 10**6)
"""Bodies, in octets: in one packet, in some tens, in many."""
LEAST, MOST = 64 * 10**3, 16 * 10**6
GOAL_S = 2.0
"""How long one measurement of the speed is meant to take."""
PINGS = 3
_PIECE = 16 * 2**10


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. `kind` is answered, stalled, closed (by the other end, unanswered), or ended."""

    kind: str
    status: int = 0
    seconds: float = 0.0
    date_unix: float | None = None
    """The center's time, as its Date header says."""
    asked_unix: float = 0.0
    """This machine's time half way between question and answer."""
    said: str = ""

    @property
    def ahead_s(self) -> float | None:
        """Of the center's clock; None where that told no time."""
        return None if self.date_unix is None else self.asked_unix - self.date_unix


@dataclass(frozen=True)
class Sent:
    """One body of the ladder; seconds are None where it did not arrive."""

    size: int
    seconds: float | None
    said: str = ""
    is_stalled: bool = False


class Line:
    """Makes one request a call, each on a connection of its own."""

    def __init__(
        self,
        opened: Callable[[], socket.socket],
        shaking: ssl.SSLContext,
        host: str,
        now: Callable[[], float],
        unix: Callable[[], float],
    ) -> None:
        self._opened, self._shaking, self._host, self._now, self._unix = opened, shaking, host, now, unix
        self.mtu: int | None = None
        """Of the last connection."""

    def fetch(self, size: int, times: int = 1) -> Exchange:
        """`size` octets from the center; of several times on one connection the fastest. Raises nothing."""
        return self._safely(lambda made: min((self._one(made, "GET", size) for _ in range(times)), key=lambda e: e.seconds))

    def push(self, size: int) -> Exchange:
        """`size` octets to the center. Raises nothing."""
        return self._safely(lambda made: self._one(made, "POST", size))

    def _safely(self, work: Callable[[http.client.HTTPConnection], Exchange]) -> Exchange:
        try:
            with self._opened() as plain:
                plain.settimeout(STALL_S)
                with self._shaking.wrap_socket(plain, server_hostname=self._host) as secret:
                    made = http.client.HTTPConnection(self._host, timeout=STALL_S)
                    made.sock = secret
                    try:
                        return work(made)
                    finally:
                        self.mtu = path_mtu(secret)
        except NotConnected as error:
            return Exchange("ended", said=str(error))
        except TimeoutError:
            return Exchange("stalled", said=f"nothing went through for {STALL_S:.0f} s")
        except (ssl.SSLEOFError, ConnectionError) as error:  # http.client.RemoteDisconnected is one
            return Exchange("closed", said=getattr(error, "reason", None) or str(error) or type(error).__name__)
        except ssl.SSLError as error:
            return Exchange("closed" if "ALERT" in (error.reason or "") else "ended", said=error.reason or str(error))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Exchange("ended", said=getattr(error, "strerror", None) or str(error) or type(error).__name__)

    def _one(self, made: http.client.HTTPConnection, method: str, size: int) -> Exchange:
        began, unix = self._now(), self._unix()
        if method == "GET":
            made.request("GET", f"{PATH}?bytes={size}")
        else:
            made.request("POST", PATH, _pieces(size), {"Content-Length": str(size)})
        answer = made.getresponse()
        headed = self._unix()
        said = b""
        while piece := answer.read(_PIECE):
            said = said or piece[:300]
        seconds, date = self._now() - began, _date(answer.headers)
        words = said.decode("utf-8", "replace") if answer.status != 200 else ""
        return Exchange("answered", answer.status, seconds, date, (unix + headed) / 2, words)


def ladder(line: Line) -> tuple[Sent, ...]:
    """Bodies of growing size until one does not arrive."""
    sent: list[Sent] = []
    for size in LADDER:
        done = line.push(size)
        arrived = done.kind == "answered" and done.status == 200
        sent.append(
            Sent(size, done.seconds if arrived else None, done.said or f"status {done.status}", done.kind == "stalled")
        )
        if not arrived:
            break
    return tuple(sent)


def speed(line: Line, first_guess: float) -> Speed | str:
    """Measured with bodies that take some two seconds, the first guess in octets per second; else why it cannot be."""
    size = int(min(MOST, max(LEAST, first_guess * GOAL_S)))
    pinged, down, up = line.fetch(0, PINGS), line.fetch(size), line.push(size)
    for done in (pinged, down, up):
        if done.kind != "answered" or done.status != 200:
            return done.said or f"status {done.status}"
    return Speed(size / max(down.seconds, 1e-6), size / max(up.seconds, 1e-6), pinged.seconds)


def _pieces(size: int) -> Iterator[bytes]:
    piece = bytes(_PIECE)
    for start in range(0, size, _PIECE):
        yield piece[: size - start]


def _date(headers: Message) -> float | None:
    try:
        return parsedate_to_datetime(headers["date"]).timestamp() + 0.5  # it is told in whole seconds, cut off
    except (KeyError, TypeError, ValueError):
        return None
