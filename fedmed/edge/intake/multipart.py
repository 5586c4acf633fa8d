"""A multipart body cut into its parts as it comes; holds one part at a time (RFC 2046 section 5.1, PS3.18 section 8.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fedmed.errors import DataError

MOST_HEAD = 8 * 2**10
"""Bytes of a part's headers."""
BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,199}[0-9A-Za-z'()+_,./:=?-]")
"""RFC 2046 allows 70 characters; Orthanc writes 73."""
PARAMETER = re.compile(rb";\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:\"([^\"]*)\"|([^\s;\"]+))\s*")
Part = tuple[Mapping[bytes, bytes], bytes]
"""Headers, names in lower case; content."""


class BadMultipart(DataError):
    """The body is no multipart, or not a whole one."""


class TooLarge(DataError):
    """A part, or the number of parts, passes what is allowed."""


def content_type(value: bytes) -> tuple[bytes, Mapping[bytes, bytes]]:
    """A Content-Type: media type and names of parameters in lower case (RFC 9110 section 8.3.1). Raises BadMultipart."""
    kind, _, _ = value.partition(b";")
    rest, found = value[len(kind) :], {}
    while rest:
        parameter = PARAMETER.match(rest)
        if not parameter:
            raise BadMultipart("a Content-Type that cannot be read")
        name, quoted, plain = parameter.groups()
        found[name.lower()] = quoted if quoted is not None else plain
        rest = rest[parameter.end() :]
    return kind.strip().lower(), found


class Parts:
    """Takes a body in pieces of any size, gives its parts."""

    def __init__(self, boundary: bytes, most_bytes: int, most_parts: int) -> None:
        """Raises BadMultipart for a boundary that is none."""
        if not BOUNDARY.fullmatch(boundary):
            raise BadMultipart("the boundary is no 1 to 200 characters of those allowed (RFC 2046 section 5.1.1)")
        self._delimiter = b"\r\n--" + boundary
        self._most_bytes, self._left = most_bytes, most_parts
        self._held = bytearray(b"\r\n")  # so that the first delimiter, with which a body may begin, is like the others
        self._scanned = 0
        self._in_part = False
        self.is_over = False
        """Whether the last delimiter has come."""

    def take(self, piece: bytes) -> Iterator[Part]:
        """The parts that `piece` completes. Raises BadMultipart and TooLarge."""
        if self.is_over:
            return  # an epilogue is for nobody
        self._held += piece
        while not self.is_over:
            at = self._held.find(self._delimiter, self._scanned)
            after = at + len(self._delimiter)
            end = self._held.find(b"\r\n", after, after + MOST_HEAD) if at >= 0 else -1
            closes = at >= 0 and self._held[after : after + 2] == b"--"
            if at < 0 or (end < 0 and not closes):
                self._refuse_size(at)
                return
            yield from self._between(at)
            self._in_part, self.is_over, self._scanned = True, closes, 0
            if not closes and self._held[after:end].strip(b" \t"):
                raise BadMultipart("a boundary with something behind it")
            del self._held[: after if closes else end + 2]

    def _refuse_size(self, at: int) -> None:
        """No whole delimiter is there: what is held grows, and is searched from where the search has ended."""
        if len(self._held) > self._most_bytes + MOST_HEAD:
            raise TooLarge(f"a part of more than {self._most_bytes} bytes; allowed are {self._most_bytes}")
        if not self._in_part and len(self._held) > MOST_HEAD:
            raise BadMultipart(f"no boundary within the first {MOST_HEAD} bytes")
        self._scanned = at if at >= 0 else max(0, len(self._held) - len(self._delimiter) + 1)

    def _between(self, at: int) -> Iterator[Part]:
        """What stands before the delimiter at `at`: a part, or the preamble."""
        if not self._in_part:
            return
        self._left -= 1
        if self._left < 0:
            raise TooLarge("more parts than are allowed in one request")
        head = self._held.find(b"\r\n\r\n", 0, min(at, MOST_HEAD) + 4)
        begin = head + 4
        if self._held.startswith(b"\r\n"):  # no headers
            head, begin = 0, 2
        if head < 0 or begin > at:
            raise BadMultipart(f"a part whose headers have no end within {MOST_HEAD} bytes")
        if at - begin > self._most_bytes:
            raise TooLarge(f"a part of {at - begin} bytes; allowed are {self._most_bytes}")
        headers: dict[bytes, bytes] = {}
        for line in bytes(self._held[:head]).split(b"\r\n") if head else ():
            name, colon, value = line.partition(b":")
            if not colon:
                raise BadMultipart("a part with a header that is none")
            headers[name.strip().lower()] = value.strip()
        yield headers, bytes(memoryview(self._held)[begin:at])
