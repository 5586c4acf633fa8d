"""What the messages of all phases share; their values are in `epoch_messages` and `round_messages`.

epoch   commit (beyond 128 members)   terms                         -> digest of a nonce, signed
        advert                        terms, all commitments        -> keys of the epoch and of its rounds, signed
        shares                        all adverts                   -> sealed shares for each holder
        store                         the sealed shares for one     -> receipt, signed
round   upload                        header                        -> masked vector, envelope, signed
        confirm                       header, survivors             -> signature over both
        reveal                        header, survivors, signatures -> shares: of self masks, or of keys of the gone
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import TypeVar

from fedmed.privacy.secagg.encoding import Reader, Writer
from fedmed.privacy.secagg.parameters import MAX_MEMBERS
from fedmed.privacy.secagg.schedule import SECRET_BYTES, SELF_BYTES

KEY_BYTES, SIGNATURE_BYTES, NONCE_BYTES = 32, 64, 32
SHARE_BYTES = SELF_BYTES + SECRET_BYTES  # of one round of one member
SMALL = 1024  # bytes that no message's fixed parts exceed
Part = TypeVar("Part")


def whole(reader: Reader, read: Callable[[Reader], Part]) -> Part:
    """What `read` makes of a message. Raises Refused where something is left over."""
    value = read(reader)
    reader.end()
    return value


def put_all(writer: Writer, values: tuple[bytes, ...]) -> Writer:
    """A list of byte strings."""
    return writer.fixed(listed(values))


def listed(values: tuple[bytes, ...]) -> bytes:
    """The bytes of such a list."""
    parts = ((len(each).to_bytes(4, "big"), each) for each in values)
    return len(values).to_bytes(2, "big") + b"".join(chain.from_iterable(parts))


def read_all(reader: Reader, most: int) -> tuple[bytes, ...]:
    """The same list back, each of at most `most` bytes."""
    return tuple(reader.text(most) for _ in range(reader.number(2, MAX_MEMBERS)))
