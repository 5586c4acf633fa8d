"""What a site says of itself before the first round, as its gate lets it leave: declared sizes, and no count or sum."""

from __future__ import annotations

import json
from dataclasses import dataclass

from fedmed.errors import ProtocolRefused

FINGERPRINT = "fingerprint"
TOLD = frozenset({"name", "classes", "inputs", "examples", "masks", FINGERPRINT})
"""All that a description may hold. The fingerprint has an approval of its own, see `fedmed.learning.disclosure`."""
MOST_CHARACTERS = 1 << 20


def declared(count: int) -> int:
    """`count` rounded up to one of 1, 2, 5, 10, 20, 50, 100 ...; 0 stays 0. At most two and a half times the count."""
    if count <= 0:
        return 0
    power = 1
    while 10 * power < count:
        power *= 10
    return next(step * power for step in (1, 2, 5, 10) if step * power >= count)


@dataclass(frozen=True)
class Sizes:
    """What a site declares of its data set, hence what everybody may know."""

    training: int
    validation: int

    @classmethod
    def of(cls, training: int, validation: int) -> Sizes:
        """Those of so many cases."""
        return cls(declared(training), declared(validation))


def check(text: str, is_private: bool = False) -> None:
    """Raise ProtocolRefused for a description that tells more than declared sizes; what it tells is not repeated.

    `is_private`: under differential privacy there is no fingerprint either, whose counts have no noise.
    """
    try:
        told = json.loads(text) if len(text) <= MOST_CHARACTERS else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not isinstance(sizes := told.get("examples"), dict):
        raise ProtocolRefused(f"a description is an object with its sizes, of at most {MOST_CHARACTERS} characters")
    allowed = TOLD - {FINGERPRINT} if is_private else TOLD
    if told.keys() <= allowed and all(type(size) is int and size == declared(size) for size in sizes.values()):
        return
    raise ProtocolRefused(
        "this site tells declared sizes only, no counts and no sums, and under differential privacy no fingerprint: "
        "the center's scenario needs the section privacy as it is here"
    )
