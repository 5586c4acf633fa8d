"""Errors of the hub, told to a device by a word and a text, and made errors again there."""

from __future__ import annotations

from fedmed.errors import (
    DeviceRefused,
    FedmedError,
    JoinRefused,
    ProtocolRefused,
    QuotaRefused,
    StoreError,
    Unreachable,
    VersionRefused,
)
from fedmed.wire.visible import visible

KEY = "fedmed-refused"
"""Of a call's trailing metadata."""
WORDS: dict[str, type[FedmedError]] = {
    "device": DeviceRefused,
    "join": JoinRefused,
    "version": VersionRefused,
    "message": ProtocolRefused,
    "quota": QuotaRefused,
    "store": StoreError,
    "later": Unreachable,
}
MOST_TEXT = 1000


def word_of(error: FedmedError) -> str:
    """The word of an error; one that has none is the hub's own matter, and may pass."""
    return next((word for word, kind in WORDS.items() if isinstance(error, kind)), "later")


def error_of(word: str, text: str) -> FedmedError:
    """The error that the other side told; one with an unknown word is a refusal. Its text cannot steer a terminal."""
    return WORDS.get(word, ProtocolRefused)(visible(text[:MOST_TEXT]))
