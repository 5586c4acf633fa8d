"""How large an answer may be: in proportion to what was asked with, and never more than so much."""

from __future__ import annotations

from dataclasses import dataclass

MOST_BYTES, MOST_OBJECTS = 8 * 2**30, 50_000
TIMES, FREE_BYTES, FREE_OBJECTS = 4, 16 * 2**20, 1_000
"""An answer has up to four times the bytes that were sent (a model in float16, masked in 64 bits), and some more."""


@dataclass(frozen=True)
class Allowance:
    """Of one answer, all its objects together."""

    size: int = MOST_BYTES
    """Bytes."""
    objects: int = MOST_OBJECTS

    @classmethod
    def after(cls, size: int, objects: int) -> Allowance:
        """For the answer to a message of so many bytes and objects."""
        return cls(min(MOST_BYTES, TIMES * size + FREE_BYTES), min(MOST_OBJECTS, TIMES * objects + FREE_OBJECTS))

    def reason_against(self, size: int, objects: int) -> str | None:
        """Why an answer is too large; None where it is not."""
        if size <= self.size and objects <= self.objects:
            return None
        return (
            f"an answer of {size} bytes in {objects} objects; allowed are {self.size} in {self.objects}, by the size of "
            "what was asked with; let the app send less"
        )
