"""Numbers of things as people say them."""

from __future__ import annotations


def count(number: int, one: str, many: str = "") -> str:
    """`1 round`, `15 rounds`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
