"""Messages with one bit of them changed on the way."""

from __future__ import annotations

from dataclasses import replace

from fedmed.outbound.outbox import Sent
from fedmed.twin.search.clinic import Work


def flipped(content: bytes, choice: int) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[choice // 8 % len(changed)] ^= 1 << choice % 8
    return bytes(changed)


def request(said: bytes | Work, choice: int) -> bytes | Work:
    """A request, or the header or the model of a round's work, so changed."""
    if isinstance(said, bytes):
        return flipped(said, choice)
    if choice % 3:
        return replace(said, header=flipped(said.header, choice))
    return replace(said, model=flipped(said.model, choice))


def answer(said: bytes | Sent, choice: int) -> bytes | Sent:
    """An answer, or the envelope or the vector of an upload, so changed."""
    if isinstance(said, bytes):
        return flipped(said, choice)
    if choice % 2:
        return replace(said, envelope=flipped(said.envelope, choice))
    vector = said.vector.copy()
    vector[choice // 64 % len(vector)] ^= 1 << choice % 32
    return replace(said, vector=vector)
