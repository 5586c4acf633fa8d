"""What a device and its hub say while it enrols, over TLS 1.3 with the hub's certificate alone.

    hub     authority, clinic, version      the device compares the authority with its code, and the hub with the authority
    device  invitation, version             or: only, for who wants to see the greeting and goes
    hub     name                            what the code's device is to be called
    device  request, proof
    hub     certificate, until, port        or, in place of any of its turns: refused, word

Each turn is a message without a body (`messages`), after its length in four bytes. Python's own TLS is used here, not gRPC:
gRPC cannot dial a hub whose authority it does not know yet, nor ask for a certificate that may be absent, and a port that
anybody may dial is better small.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from fedmed.errors import ProtocolRefused, Unreachable
from fedmed.hub.messages import Message, decoded, encoded, text
from fedmed.hub.refusals import MOST_TEXT, error_of

MOST_TURN = 32 << 10
"""Bytes of one turn."""
ONLY = "only"
"""What a device says that wanted to know whose hub this is, and nothing else."""
LASTS_S = 15.0
"""All of it, so that nobody holds a place by sending slowly."""


class Talk:
    """One connection, its handshake done; `now` is a monotonic clock in seconds."""

    def __init__(self, line: ssl.SSLSocket, now: Callable[[], float]) -> None:
        self._line, self._now, self._until = line, now, now() + LASTS_S

    def say(self, head: Mapping[str, Any]) -> None:
        """Send one turn. Raises Unreachable where the other side does not take it."""
        content = encoded(Message(head))
        try:
            self._hurry()
            self._line.sendall(len(content).to_bytes(4, "big") + content)
        except OSError as error:
            raise Unreachable(f"the other side hung up ({error})") from error

    def hear(self) -> Mapping[str, Any]:
        """The other side's turn. Raises ProtocolRefused for what is none, Unreachable, and what it was refused with."""
        size = int.from_bytes(self._read(4), "big")
        if size > MOST_TURN:
            raise ProtocolRefused(f"a turn of {size} bytes; allowed are {MOST_TURN}")
        head = decoded(self._read(size)).head
        if "refused" in head:
            raise error_of(text(head, "word"), text(head, "refused", most=MOST_TEXT))
        return head

    def _read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            try:
                self._hurry()
                part = self._line.recv(size)
            except OSError as error:
                raise Unreachable(f"the other side hung up ({error})") from error
            if not part:
                raise Unreachable("the other side hung up")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _hurry(self) -> None:
        left = self._until - self._now()
        if left <= 0:
            raise Unreachable(f"the other side took more than {LASTS_S:g} s")
        self._line.settimeout(left)


def hexadecimal(head: Mapping[str, Any], key: str) -> bytes:
    """Bytes that a turn carries. Raises ProtocolRefused."""
    try:
        return bytes.fromhex(text(head, key, most=MOST_TURN))
    except ValueError as error:
        raise ProtocolRefused(f"{key} is not written in hexadecimal") from error


def dialing() -> ssl.SSLContext:
    """What a device shakes hands with: it believes nothing of the other side before it has compared it with its code."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def dialled(host: str, port: int) -> ssl.SSLSocket:
    """A connection to the enrolment port. Raises Unreachable."""
    try:
        line = socket.create_connection((host, port), LASTS_S)
    except socket.gaierror as error:
        raise Unreachable(
            f"no machine is called {host!r} here ({error.strerror}); see its spelling, or name its address"
        ) from error
    except OSError as error:
        raise Unreachable(
            f"no hub answers at {host} port {port} ({error.strerror or error}); see that it is up: fedmed clinic hub up, and"
            " that no firewall is between"
        ) from error
    try:
        return dialing().wrap_socket(line)
    except OSError as error:
        line.close()
        raise Unreachable(f"{host} port {port} does not speak TLS 1.3 ({error}); is it the hub's enrolment port?") from error
