"""A layout back from its canonical bytes (`Layout.canonical`), which the center sends with each round."""

from __future__ import annotations

import struct
from typing import Any, Literal, cast

from fedmed.errors import ConfigError
from fedmed.privacy.secagg.attacks import Refused
from fedmed.privacy.secagg.encoding import malformed
from fedmed.privacy.secagg.fields import Fixed, Whole
from fedmed.privacy.secagg.layout import MOST_PARTS, VERSION, Layout, Tensor

MAX_BYTES = 1 << 24


class _Reader:
    """Takes bytes apart; whatever they lack is refused."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise malformed(f"a layout ends after {len(self._data)} bytes, {end} are needed")
        part, self._at = self._data[self._at : end], end
        return part

    def numbers(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def text(self) -> str:
        (size,) = self.numbers(">I")
        return self.take(size).decode()

    def count(self) -> int:
        (found,) = self.numbers(">I")
        if found > MOST_PARTS:
            raise malformed(f"a layout of {found} parts; allowed: {MOST_PARTS}")
        return int(found)


def decode(data: bytes) -> Layout:
    """The layout. Raises Refused for bytes that `canonical()` does not write, and for a layout that cannot work."""
    if len(data) > MAX_BYTES:
        raise malformed(f"a layout of {len(data)} bytes; allowed: {MAX_BYTES}")
    reader = _Reader(data)
    try:
        if reader.text().encode() != VERSION:
            raise malformed(f"a layout that is not of version {VERSION.decode()}; update the older side")
        bits, clients, bound, most_weight = reader.numbers(">BIdQ")
        tensors = tuple(_tensor(reader) for _ in range(reader.count()))
        fields = tuple(_field(reader) for _ in range(reader.count()))
        layout = Layout(tensors, fields, cast(Literal[16, 32], bits), clients, bound, most_weight)
    except (ConfigError, UnicodeDecodeError, OverflowError, ValueError) as error:
        raise error if isinstance(error, Refused) else malformed(f"a layout that cannot work: {error}") from error
    if layout.canonical() != data:
        raise malformed("a layout that is not written as it should be")
    return layout


def _tensor(reader: _Reader) -> Tensor:
    name = reader.text()
    (sides,) = reader.numbers(">B")
    return Tensor(name, reader.numbers(f">{sides}Q"))


def _field(reader: _Reader) -> Whole | Fixed:
    name = reader.text()
    count, kind = reader.numbers(">IB")
    if kind == 1:
        return Whole(name, int.from_bytes(reader.take(16), "big"), count)
    if kind == 2:
        bound, resolution = reader.numbers(">dd")
        return Fixed(name, bound, resolution, count)
    raise malformed(f"a field of kind {kind}; allowed: 1 and 2")
